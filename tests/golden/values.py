"""Numbers of five objectives from data to decisions: remade, kept, and compared with those kept.

On the processor that made them they are the same bits. On another one sums are taken in another
order: there log norms agree to 1e-4, scores to 1e-3 of the interquartile range of own scores, and
p-values to one rank.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

import fimetric as fm
from fimetric.gradients import machine
from fimetric.objectives import Objective

HERE = Path(__file__).parent
Numbers = dict[str, NDArray[np.float64]]
N = 48  # own samples to fit and calibrate on
LAYERS, SCORES = 1e-4, 1e-3


def processor() -> str:
    """Return what decides the order of sums: the processor, the threads and the libraries."""
    return f"{machine.processor()}, {torch.get_num_threads()} threads"


def objectives() -> dict[str, tuple[Objective, torch.Tensor, torch.Tensor]]:
    """Return objectives on models of fixed weights, each with own and foreign data."""
    pictures, letters = (
        fm.data.load(name, size=32, limit=limit).tensor(range(limit))
        for name, limit in (("digits", N), ("letters", 8))
    )
    shape = tuple(pictures.shape[1:])
    generator = torch.Generator().manual_seed(0)
    found = {}
    for kind in ("glow", "vae", "diffusion"):
        model = fm.models.build(kind, "tiny", shape, seed=0).eval()
        _stir(model, generator)
        found[kind] = (fm.objectives.standard_objective(model), pictures, letters)
    rows = torch.randn(N, 8, generator=generator, dtype=torch.float64)
    linear = torch.nn.Linear(8, 8, dtype=torch.float64)
    _stir(linear, generator)
    reconstruct = Objective(lambda x: (linear(x) - x).square().sum(1), linear)
    found["closure"] = (reconstruct, rows, 3 * rows[:8])
    texts = torch.randint(50, (N, 12), generator=generator)
    strange = texts[:8].sort(1).values
    found["language"] = (fm.objectives.CausalLM(_language_model(generator)), texts, strange)
    return found


def _language_model(generator: torch.Generator) -> torch.nn.Module:
    config = GPT2Config(
        vocab_size=50,
        n_positions=16,
        n_embd=16,
        n_layer=2,
        n_head=2,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config).eval()
    _stir(model, generator)
    return model


@torch.no_grad()
def _stir(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Move all weights a little: those that begin at zero would leave layers without gradient."""
    for parameter in model.parameters():
        parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))


def made() -> Numbers:
    """Return the numbers as the program makes them now."""
    torch.manual_seed(0)
    numbers: Numbers = {}
    for name, (objective, own, foreign) in objectives().items():
        table = fm.extract(objective, own, batch_size=7, progress=False)
        detector = fm.Detector(objective, batch_size=7).fit(table)
        numbers[f"{name}/values"] = table.values
        numbers[f"{name}/losses"] = table.losses
        for kind, data in (("own", own), ("foreign", foreign)):
            numbers[f"{name}/scores/{kind}"] = detector.score(data)
            numbers[f"{name}/p/{kind}"] = detector.p_value(data)
    return numbers


def kept() -> tuple[Numbers, str]:
    """Return the numbers that were kept, and the processor that made them."""
    return load_file(HERE / "values.safetensors"), (HERE / "processor.txt").read_text().strip()


def keep(numbers: Numbers) -> None:
    """Keep numbers for later versions of the program."""
    save_file(numbers, HERE / "values.safetensors")
    (HERE / "processor.txt").write_text(processor() + "\n")


def differences(found: Numbers, golden: Numbers, bits: bool) -> list[str]:
    """Return the names of what is not as it was, in the same bits or to rounding."""
    if found.keys() != golden.keys():
        return sorted(found.keys() ^ golden.keys())
    return [n for n in golden if not _alike(n, found[n], golden, bits)]


def _alike(name: str, x: NDArray[np.float64], golden: Numbers, bits: bool) -> bool:
    y = golden[name]
    if x.shape != y.shape or x.dtype != y.dtype:
        return False
    if bits:
        return x.tobytes() == y.tobytes()
    model, kind = name.split("/")[:2]
    if kind == "scores":
        low, high = np.quantile(golden[f"{model}/scores/own"], [0.25, 0.75])
        return bool((np.abs(x - y) <= SCORES * (high - low)).all())
    if kind == "p":
        return bool((np.abs(x - y) <= 1 / (N // 2 + 1) + 1e-12).all())
    return bool((np.abs(x - y) <= LAYERS * np.maximum(1, np.abs(y))).all())
