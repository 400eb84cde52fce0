"""What the statistics need of a model beyond its losses, and how they say so."""

from typing import Any

from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.objectives import CausalLM, NegativeELBO, NegativeLogLikelihood
from fimetric.objectives.base import Objective
from fimetric.objectives.texts import Texts
from fimetric.objectives.transparent import transparent


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


def clips_of(objective: Objective, x: Input) -> Tensor:
    """Return prepared clips (N, T) of a batch.

    Raises:
        ValueError: for samples of another shape, or without a value.
    """
    found = data_of(objective.prepared(x))
    if found.ndim != 2 or not found.shape[1]:
        raise ValueError(f"a batch of clips is (N, T), not {tuple(found.shape)}: take sounds")
    return found


def require_causal(objective: Any, what: str) -> None:
    """Refuse an objective that is no likelihood of a causal language model.

    Raises:
        TypeError: for another objective.
    """
    if not isinstance(objective, CausalLM):
        raise TypeError(
            f"{what} needs a CausalLM, a likelihood of texts token by token, not "
            f"{type(objective).__name__}"
        )


def require_strings(objective: Any, what: str) -> None:
    """Refuse a causal language model of which it is not known what its tokens spell.

    Raises:
        TypeError: for another objective, or one without a tokenizer.
    """
    require_causal(objective, what)
    if objective.tokenizer is None:
        raise TypeError(
            f"{what} needs the texts themselves, and token ids alone do not tell them: give the "
            "tokenizer, CausalLM(model, tokenizer=...)"
        )


def predictions_of(objective: CausalLM, x: Input) -> tuple[Texts, Tensor]:
    """Return the texts of a batch, and the logits (N, T, vocabulary) behind each token."""
    prepared = objective.prepared(x)
    with transparent(objective.module):
        return objective.predictions(prepared)
