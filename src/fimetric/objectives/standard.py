"""The objective that each reference model is scored with."""

from collections.abc import Sequence

from fimetric.models.family import SCHEDULE, Model, family_of
from fimetric.objectives.base import Objective


def several_timesteps(model: Model) -> tuple[int, ...] | None:
    """Return the timesteps that a model is judged at unless others are asked for.

    They are those that its family names; a model without a noise schedule has none.
    """
    chosen = family_of(model).timesteps
    return None if chosen is None else chosen(model)


def standard_objective(
    model: Model, timesteps: Sequence[int] | None = None, draws: int = 1, seed: int = 0
) -> Objective:
    """Return a reference model's objective.

    Arguments:
        model: of ``fimetric.models``.
        timesteps: of a model with a noise schedule, (0,) if None.
        draws: noise draws of a model whose loss has noise.
        seed: of the noise.

    Raises:
        ValueError: for a setting that does not concern the model.
        TypeError: for another kind of model.
    """
    kind = type(model).__name__
    try:
        row = family_of(model)
    except TypeError as error:
        raise TypeError(f"{kind} is no reference model; build its objective yourself") from error
    if timesteps is not None and SCHEDULE not in row.has:
        raise ValueError(f"timesteps are for diffusion models; this is a {kind}")
    if draws != 1 and not row.noise:
        raise ValueError(f"a {kind} has one likelihood and no noise draws; leave out draws={draws}")
    made: Objective = row.objective(model, timesteps, draws, seed)
    return made
