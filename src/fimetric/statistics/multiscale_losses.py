"""The plain denoising losses at several timesteps: no gradient at all."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives import Denoising
from fimetric.objectives.noising import SCALES
from fimetric.statistics.diffusion import DiffusionStatistic, of_thousand


class MultiscaleLosses(DiffusionStatistic):
    r"""Creates the vector of log denoising losses, one column per timestep.

    .. math:: y_t(x) = \frac{1}{D} \sum_d \log
        \| \epsilon_d - \epsilon_\theta(\sqrt{\bar a_t} x + \sqrt{1 - \bar a_t} \epsilon_d, t) \|^2

    or the summed absolute error, as the objective has it; draws are averaged after the logarithm.
    It costs T D forwards per sample. It is the control of every statistic that asks for more.

    Arguments:
        objective: its model, kind of loss, centring and seed are taken; its own timesteps are not.
        timesteps: the T timesteps; by default ten, early ones closer together, in proportion to the
            schedule's length (fewer where it is short).
        draws: D noise draws per timestep, the same for all samples.

    References:
        Denoising Diffusion Probabilistic Models (Ho, Jain, Abbeel, 2020), arXiv:2006.11239: the
        loss. The vector of losses is this project's.
    """

    name = "multiscale-losses"

    def __init__(
        self, objective: Denoising, timesteps: Sequence[int] | None = None, draws: int = 1
    ) -> None:
        if timesteps is None:
            timesteps = of_thousand(objective, SCALES)
        super().__init__(objective, timesteps)
        self.scales = objective.at(self.timesteps, draws)

    @property
    def names(self) -> list[str]:
        """Names of the columns, one per timestep."""
        return [f"t={t}/loss" for t in self.timesteps]

    def measure(self, x: Input) -> Tensor:
        """Return the log losses (N, T) of samples x (N, ...)."""
        return self.scales.scale_losses(x).log().mean(2)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps, their noise levels and the number of draws."""
        return super().settings() | {"draws": self.scales.draws}
