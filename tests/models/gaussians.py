"""Gaussian data, for which the best denoiser is known."""

from collections.abc import Callable

from torch import Tensor


def best_denoiser(
    abar: Tensor, mean: float | Tensor, std: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what predicts the noise in noisy samples of N(mean, std^2), dimension by dimension.

    With no deviation all samples are the mean.
    """

    def predict(x_t: Tensor, t: Tensor) -> Tensor:
        a = abar[t].reshape(-1, 1, 1, 1)
        return (1 - a).sqrt() * (x_t - a.sqrt() * mean) / (a * std**2 + 1 - a)

    return predict
