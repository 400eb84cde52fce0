"""Is the model trained at all? Its code length beside two that need no model, and its samples."""

from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from fimetric.data import Samples
from fimetric.data.codes import simple_codes
from fimetric.models import Model
from fimetric.report.pictures import sample_grid
from fimetric.store.files import whole_file

MOST = 512  # samples whose code length is measured
BATCH = 64
SHOWN = 40


def write_model(model: Model, held_out: Samples, folder: Path, console: Console, seed: int) -> None:
    """Print and write bits per dimension or byte, and draw samples where they are pictures.

    Half of the held-out data, at random, fits the per-pixel Gaussian, or the frequencies of bytes;
    all codes are measured on the other half.

    Arguments:
        model: a reference model.
        held_out: data that it was not trained on.
        folder: where ``model.md`` and ``samples.png`` go.
        console: what is printed.
        seed: of the split, the noise and the samples.
    """
    order = np.random.default_rng(seed).permutation(len(held_out)).tolist()
    half = len(order) // 2
    fit, test = held_out.select(order[:half]), held_out.select(order[half:][:MOST])
    bits = code_lengths(model, test, seed)
    text = (
        f"Bits per {model.UNIT} on {len(test)} held-out samples of {held_out.name}: "
        f"{type(model).__name__} {bits.mean():.3f} "
        f"(standard error {bits.std(ddof=1) / len(bits) ** 0.5:.3f})"
    )
    text += "".join(f", {name} {length:.3f}" for name, length in simple_codes(fit, test).items())
    console.print(text)
    with whole_file(folder / "model.md") as path:
        path.write_text(text + "\n", encoding="utf-8")
    if not test.pictures:
        return
    samples = model.sample(SHOWN, torch.Generator().manual_seed(seed))
    title = f"Samples of a {type(model).__name__} trained on {held_out.name}"
    sample_grid(folder / "samples.png", samples.cpu().numpy(), title)


@torch.no_grad()
def code_lengths(model: Model, test: Samples, seed: int) -> np.ndarray:
    """Return the code length (N,) of each sample, in bits per dimension or byte."""
    generator = torch.Generator().manual_seed(seed)
    device = next(model.parameters()).device
    parts = [
        model.bits_per_dim(model.taken(test, rows).to(device), generator)
        for rows in torch.arange(len(test)).split(BATCH)
    ]
    return torch.cat(parts).double().cpu().numpy()
