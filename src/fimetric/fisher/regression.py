"""The Fisher matrix that a denoising model does have: that of its regression of the noise.

At a timestep t the model predicts eps_theta(x_t). Read as a regression with Normal(eps_theta, s^2)
its Fisher matrix is that of targets drawn from this very distribution,

    F = E_x E_y[g g^T] = E_x[J^T J] / s^2,      J = d eps_theta / d theta,

the Gauss-Newton matrix: Limitations of the Empirical Fisher Approximation for Natural Gradient
Descent (Kunstner, Balles and Hennig, 2019, arXiv 1905.12558).
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.data import Batch, batches
from fimetric.data.batch import Input
from fimetric.noise import drawn
from fimetric.objectives.base import Losses
from fimetric.objectives.denoising import Denoising


class DenoisingRegression(Denoising):
    """Creates minus the log likelihood of targets drawn from the model's own prediction.

        l_t = | y - eps_theta(x_t) |^2 / (2 s^2),      y = eps_theta(x_t) + s xi, held fixed

    up to a constant. A batch is a dictionary of ``x``, ``noise`` (of x_t) and ``target`` (xi), each
    sample with its own noise, as :class:`Noised` makes it.

    Arguments:
        unet, scheduler, timesteps, centred: see :class:`Denoising`.
        deviation: s, see :func:`residual_deviation`.
    """

    kind = "likelihood"

    def __init__(
        self,
        unet: nn.Module,
        scheduler: Any,
        timesteps: tuple[int, ...] = (0,),
        centred: bool = True,
        deviation: float = 1.0,
    ) -> None:
        super().__init__(unet, scheduler, timesteps, centred=centred)
        if not 0 < deviation < float("inf"):
            raise ValueError(f"deviation must be positive and finite, not {deviation}")
        self.deviation = deviation

    @classmethod
    def of(cls, objective: Denoising, deviation: float) -> "DenoisingRegression":
        """Return the regression of a denoising objective's model at its timesteps."""
        settings = (objective.module, objective.scheduler, objective.timesteps, objective.centred)
        return cls(*settings, deviation=deviation)

    def _view(self, t: int, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            predicted = self._predicted(t, batch)
            target = predicted.detach() + self.deviation * batch["target"]  # type: ignore[index]
            error = (target - predicted) / self.deviation
            return 0.5 * error.square().flatten(1).sum(1)

        return losses

    def _residual(self, t: int, batch: dict[str, Tensor]) -> Tensor:
        target = self._target(self.clean(batch["x"]), batch["noise"], t)
        return target - self._predicted(t, batch)

    def settings(self) -> dict[str, Any]:
        """Return the settings of the denoising, and s."""
        return {**super().settings(), "deviation": self.deviation}

    def _predicted(self, t: int, batch: Input) -> Tensor:
        if not isinstance(batch, dict) or not {"x", "noise", "target"} <= batch.keys():
            raise ValueError("a batch must have x, noise and target: wrap the data in Noised")
        x = self.clean(batch["x"])
        return self._predict(self._noisy(x, batch["noise"], t), t, x)


class Noised:
    """Creates the data of a :class:`DenoisingRegression`: every sample with two draws of its own.

    Arguments:
        data: samples.
        batch_size: samples to a batch.
        seed: of the draws, which depend on it and on a sample's place in the data.
    """

    def __init__(self, data: Any, batch_size: int = 64, seed: int = 0) -> None:
        self.data, self.batch_size, self.seed = data, batch_size, seed

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Yield the batches, the same each time."""
        generator = torch.Generator().manual_seed(self.seed)
        for batch in batches(self.data, self.batch_size):
            x = _alone(batch)
            noise, target = drawn("normal", (2, *x.shape), generator).to(x)
            yield {"x": x, "noise": noise, "target": target}


def _alone(batch: Batch) -> Tensor:
    if not isinstance(batch.x, Tensor):
        raise ValueError("the regression takes samples without a condition")
    return batch.x


@torch.no_grad()
def residual_deviation(objective: Denoising, data: Any, batch_size: int = 64) -> float:
    """Return s, the root mean square per dimension of what is left of the target, at one timestep.

    The target is eps, or x or v where the model predicts that.

    It is the s under which the regression's likelihood of ``data`` is highest.

    Raises:
        ValueError: where the objective has several timesteps: each has its own s.
    """
    if len(objective.timesteps) != 1:
        raise ValueError(f"name one timestep, not {objective.timesteps}: each has its own s")
    regression = DenoisingRegression.of(objective, 1.0)
    total, count = 0.0, 0
    for batch in Noised(data, batch_size):
        error = regression._residual(objective.timesteps[0], batch)
        total, count = total + float(error.double().square().sum()), count + error.numel()
    return (total / count) ** 0.5
