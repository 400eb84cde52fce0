"""What the statistics need of a model beyond its losses, and how they say so."""

from typing import Any

from torch import Tensor

from fimetric.objectives import NegativeELBO, NegativeLogLikelihood


def require_bound(objective: Any, what: str, *methods: str) -> None:
    """Refuse an objective that is no bound of a module that has these methods.

    Raises:
        TypeError: for another objective, or naming the methods that are missing.
    """
    if not isinstance(objective, NegativeELBO):
        raise TypeError(f"{what} needs a NegativeELBO, not {type(objective).__name__}")
    missing = [name for name in methods if not hasattr(objective.module, name)]
    if missing:
        raise TypeError(
            f"{what} needs {type(objective.module).__name__} to have {' and '.join(missing)}; "
            "fimetric.models.VAE shows what they return"
        )


def require_transform(objective: Any, what: str) -> None:
    """Refuse an objective that is no likelihood of a flow that shows its latents.

    Raises:
        TypeError: for another objective, or a module without ``transform``.
    """
    if not isinstance(objective, NegativeLogLikelihood):
        raise TypeError(f"{what} needs a NegativeLogLikelihood, not {type(objective).__name__}")
    if not hasattr(objective.module, "transform"):
        raise TypeError(
            f"{what} needs {type(objective.module).__name__} to have transform(x) -> (latents, "
            "log det); fimetric.models.Glow shows what they are"
        )


def latents_of(objective: Any, x: Tensor) -> tuple[list[Tensor], Tensor]:
    """Return the latents of prepared x (N, ...), one tensor per level, and log |det| (N,)."""
    latents, log_det = objective.module.transform(objective.dequantised(x))
    return ([latents] if isinstance(latents, Tensor) else list(latents)), log_det
