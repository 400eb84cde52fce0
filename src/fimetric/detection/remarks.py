"""What to know of a model and its loss before they are used, a sentence each."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from fimetric.objectives.base import Objective
from fimetric.objectives.language import CausalLM
from fimetric.objectives.steadiness import refuse_changing, refuse_training_mode
from fimetric.objectives.takes import coarse_formats

LEVELS = (0.05, 0.01)
SEVERAL = "denoising loss"  # of which several timesteps tell more than one


def stopping(module: nn.Module) -> list[str]:
    """Return what keeps a model from being used at all."""
    found = []
    for refuse in (refuse_training_mode, refuse_changing):
        try:
            refuse(module)
        except RuntimeError as error:
            found.append(f"it cannot be used so: {error}")
    return found


def of_model(objective: Objective) -> Iterator[str]:
    """Yield what to know of an objective and its model."""
    yield from _of_loss(objective)
    yield from _of_parameters(objective)
    yield from _of_texts(objective)


def _of_loss(objective: Objective) -> Iterator[str]:
    if objective.kind != "likelihood":
        yield (
            f"the loss is a {objective.kind}, no likelihood: a detector works with it all the "
            "same, but its gradient is not known to be a score"
        )
    if objective.kind == SEVERAL and len(objective.settings().get("timesteps", ())) == 1:
        yield "one timestep tells less than several; pass some, as in --timesteps 0,50,300"


def _of_parameters(objective: Objective) -> Iterator[str]:
    each = list(objective.module.parameters())
    frozen = sum(not p.requires_grad for p in each)
    chosen = objective.opened is not None and "parameters" in objective.opened.asked
    if frozen and not chosen:
        yield (
            f"{frozen} of its {len(each)} tensors are frozen, and add no columns; --parameters "
            "'*' takes them too"
        )
    if names := coarse_formats(objective.module):
        yield (
            f"weights in {names} round coarsely, and norms with them; --dtype float32 does not, "
            "where memory allows"
        )


def _of_texts(objective: Objective) -> Iterator[str]:
    tokenizer: Any = getattr(objective, "tokenizer", None)
    if tokenizer is None or not isinstance(objective, CausalLM):
        return
    if tokenizer("a")["input_ids"][:1] != [tokenizer.bos_token_id]:
        yield (
            "the tokenizer puts no beginning-of-text token in front: the first token of a text is "
            "given, and its own probability not counted"
        )


def of_data(samples: int) -> Iterator[str]:
    """Yield what to know of a detector that is fitted on so many samples."""
    calibrated = samples // 2
    few = [alpha for alpha in LEVELS if (calibrated + 1) * alpha < 1]
    if few:
        yield (
            f"{samples} samples leave {calibrated} to calibrate on, too few for alarms at alpha = "
            f"{' and '.join(map(str, few))}"
        )
    yield (
        "where several samples surely come from one source, --group-size of fit judges them "
        "together, which tells more"
    )
