"""Time of the gradient engine against one ordinary training step, and against the plain loop.

    ratio = (forward + table of norms) / (forward + losses.sum().backward())

on the same model and batch, in one process; medians of interleaved repeats.
"""

import platform
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

import fimetric as fm
from fimetric.gradients.reference import squared_gradient_norms

REPEATS = 5
LOOP_SAMPLES = 8  # the loop is timed on some samples and scaled

Case = tuple[nn.Module, Tensor, Callable[[Tensor], Tensor]]


def unet() -> Case:
    model = fm.models.build("diffusion", "small", (1, 32, 32)).eval()
    objective = fm.objectives.standard_objective(model)
    return model.unet, torch.rand(32, 1, 32, 32), objective


def glow() -> Case:
    model = fm.models.build("glow", "small", (1, 32, 32)).eval()
    return model, torch.rand(16, 1, 32, 32), fm.objectives.standard_objective(model)


def vae() -> Case:
    model = fm.models.build("vae", "small", (1, 32, 32)).eval()
    return model, torch.rand(128, 1, 32, 32), fm.objectives.standard_objective(model)


def gpt2() -> Case:
    from transformers import GPT2Config, GPT2LMHeadModel

    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPT2Config(vocab_size=4096, n_embd=256, n_layer=4, n_head=4, n_positions=128, **ends)
    model = GPT2LMHeadModel(config).eval()
    return model, torch.randint(4096, (16, 128)), fm.objectives.CausalLM(model)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(case: Case) -> tuple[float, float, float, float, float]:
    module, x, losses = case
    norms = fm.GradientNorms(module)
    parameters = list(module.parameters())

    def step() -> None:
        module.zero_grad(set_to_none=True)
        losses(x).sum().backward()

    def loop() -> None:
        squared_gradient_norms(losses, x[:LOOP_SAMPLES].split(1), parameters)

    first = seconds(lambda: norms(losses(x)))
    norms(losses(x))  # the first reuse of a plan is checked
    step()
    rounds = [
        (seconds(step), seconds(lambda: norms(losses(x))), seconds(loop)) for _ in range(REPEATS)
    ]
    plain = statistics.median(r[0] for r in rounds)
    ratio = statistics.median(r[1] / r[0] for r in rounds)
    looped = statistics.median(r[2] / r[0] for r in rounds) * len(x) / LOOP_SAMPLES
    return sum(p.numel() for p in parameters) / 1e6, plain, ratio, looped, first / plain


def main() -> None:
    torch.manual_seed(0)
    table = Table(title="Gradient norms of all samples and layers")
    for heading in (
        "model",
        "million parameters",
        "batch",
        "one training step, s",
        "norms / step",
        "loop / step",
        "first batch / step",
    ):
        table.add_column(heading, justify="right")
    for make in (unet, glow, vae, gpt2):
        case = make()
        size, plain, ratio, looped, first = measure(case)
        numbers = (f"{plain:.3f}", f"{ratio:.2f}", f"{looped:.2f}", f"{first:.1f}")
        table.add_row(make.__name__, f"{size:.2f}", str(len(case[1])), *numbers)
    console = Console()
    console.print(table)
    console.print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {platform.machine()}; "
        f"medians of {REPEATS} interleaved repeats"
    )


if __name__ == "__main__":
    main()
