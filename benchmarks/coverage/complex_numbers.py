"""Models with complex parameters."""

from collections.abc import Callable

import torch
from case import I, Model, O, on_vectors
from torch import Tensor, nn


def complex_matrix() -> Model:
    weight = nn.Parameter(torch.randn(I, O, dtype=torch.cfloat))
    module = nn.ParameterDict({"w": weight})
    return on_vectors(module, I, output=lambda x: x.to(module["w"].dtype) @ module["w"])


def complex_perceptron() -> Model:
    """Complex linear layers with a modulus in between."""
    first = nn.Linear(I, 8, dtype=torch.cfloat)
    last = nn.Linear(8, O, dtype=torch.cfloat)

    def output(x: Tensor) -> Tensor:
        hidden = first(torch.complex(x, x.square()))
        return last(hidden / (1 + hidden.abs()))

    return on_vectors(nn.ModuleList([first, last]), I, output=output)


def complex_convolution() -> Model:
    module = nn.Conv1d(2, O, 3, dtype=torch.cfloat)
    return on_vectors(module, 2, 8, output=lambda x: module(torch.complex(x, -x)))


def fourier_filter() -> Model:
    """A filter of complex numbers in the frequency domain, as in Fourier neural operators."""
    module = nn.ParameterDict({"w": nn.Parameter(torch.randn(2, 3, 4, dtype=torch.cfloat))})

    def output(x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft(x)[..., :4]
        return torch.fft.irfft(torch.einsum("nix,iox->nox", spectrum, module["w"]), n=8)

    return on_vectors(module, 2, 8, output=output)


def complex_scale() -> Model:
    module = nn.ParameterDict({"w": nn.Parameter(torch.randn(I, dtype=torch.cfloat))})
    return on_vectors(module, I, output=lambda x: torch.view_as_real(module["w"].exp() * x))


COMPLEX: dict[str, Callable[[], Model]] = {
    "complex matrix": complex_matrix,
    "complex perceptron": complex_perceptron,
    "complex convolution": complex_convolution,
    "complex filter of frequencies": fourier_filter,
    "complex scale": complex_scale,
}
