"""The costs against measured times: every form of a layer's norms, and the one that they take."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.speed.tables import Table
from fimetric.gradients import machine
from fimetric.gradients.contributions import Contribution, Factors, Geometry, Patches, patches
from fimetric.gradients.contributions.costs import FIXED, Costs, using
from fimetric.gradients.contributions.gram import norms_by_gram

TAKEN = "taken", "taken by constants"
# samples, input channels, output channels, side of the output, kernel, stride
CONVOLUTIONS = [
    (32, 32, 32, 32, 3, 1),
    (32, 64, 64, 32, 3, 1),
    (32, 32, 3, 32, 3, 1),
    (32, 64, 64, 16, 3, 1),
    (32, 192, 64, 16, 3, 1),
    (32, 128, 128, 16, 3, 1),
    (32, 128, 128, 8, 3, 1),
    (32, 256, 128, 8, 3, 1),
    (128, 32, 32, 16, 4, 2),
    (128, 64, 64, 4, 4, 2),
    (16, 128, 12, 16, 3, 1),
    (16, 24, 128, 4, 3, 1),
]
# samples, positions, outputs, inputs
MATRICES = [
    (16, 128, 1024, 256),
    (16, 128, 256, 256),
    (16, 128, 4096, 256),
    (16, 512, 1024, 256),
    (16, 256, 128, 128),
    (64, 32, 512, 512),
]


class Layer(NamedTuple):
    """One shape: its contribution, its forms, and the gradient that a training step adds up."""

    name: str
    contribution: Contribution
    forms: dict[str, Callable[[], Tensor]]
    summed: Callable[[], Tensor]


def convolution(N: int, I: int, O: int, side: int, kernel: int, stride: int) -> Layer:
    """Make a convolution's contribution from random numbers."""
    pads, strides, ones = (1, 1), (stride, stride), (1, 1)
    x, g = torch.randn(N, 1, I, stride * side, stride * side), torch.randn(N, 1, O, side, side)
    weight = torch.randn(O, I, kernel, kernel)
    layer = Patches(x, g, weight.shape, Geometry(strides, pads, ones))

    def summed() -> Tensor:
        return torch.ops.aten.convolution_backward(
            g[:, 0],
            x[:, 0],
            weight,
            None,
            strides,
            pads,
            ones,
            False,
            (0, 0),
            1,
            (False, True, False),
        )[1]

    forms = {
        "pixels": lambda: patches.norms_by_pixels(layer),
        "grouped": lambda: patches.norms_by_groups(layer),
        "unfolded": lambda: patches.norms_unfolded(layer),
    }
    name = f"convolution {kernel}x{kernel}, {I} to {O} at {side}x{side}, N = {N}"
    return Layer(name + (f", stride {stride}" if stride > 1 else ""), layer, forms, summed)


def matrix(N: int, T: int, O: int, I: int) -> Layer:
    """Make a linear layer's contribution from random numbers."""
    u, v = torch.randn(N, T, O), torch.randn(N, T, I)
    layer = Factors(u, v)
    forms = {
        "Gram": lambda: norms_by_gram(layer, lambda chosen: [chosen]),
        "direct": lambda: Contribution.quick_norms(layer),
    }
    return Layer(
        f"linear, {I} to {O} at {T} positions, N = {N}",
        layer,
        forms,
        lambda: u.flatten(0, 1).T @ v.flatten(0, 1),
    )


def measure(repeats: int) -> Table:
    """Time all forms of all shapes, interleaved, and the choices by measured and constant costs."""
    costs = machine.costs_on(torch.device("cpu"))
    table = Table(
        "Forms of a layer's norms",
        ("layer", "pixels or Gram", "grouped", "unfolded or direct", *TAKEN, "taken / fastest"),
        "Time over that of the summed weight gradient, which a training step computes in their "
        "place. The costs should take the fastest form: the last column is then 1. "
        f"{machine.processor()}: {_told(costs)}; the constants are {_told(FIXED)}.",
    )
    with torch.no_grad():
        for shape in CONVOLUTIONS:
            table.rows.append(_row(convolution(*shape), repeats, costs))
        for shape in MATRICES:
            table.rows.append(_row(matrix(*shape), repeats, costs))
    return table


def _told(costs: Costs) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {x:.3g}" for name, x in asdict(costs).items())


def _row(layer: Layer, repeats: int, costs: Costs) -> tuple:
    chosen = zip(TAKEN, (costs, FIXED), strict=True)
    works = {**layer.forms, **{name: _taking(layer, by) for name, by in chosen}}
    works["summed"] = layer.summed
    times: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            times[name] += [time.perf_counter() - start] if repeat else []
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    first, *middle, last = (found[name] / found["summed"] for name in layer.forms)
    fastest = min(found[name] for name in layer.forms)
    return (
        layer.name,
        first,
        middle[0] if middle else None,
        last,
        *(found[name] / found["summed"] for name in TAKEN),
        found[TAKEN[0]] / fastest,
    )


def _taking(layer: Layer, costs: Costs) -> Callable[[], Tensor]:
    def taken() -> Tensor:
        with using(costs):
            return layer.contribution.squared_norms()

    return taken
