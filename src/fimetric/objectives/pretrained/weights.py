"""Whether the weights that were read are those of the model, all of them and no others."""

import logging
import re
from collections.abc import Iterable
from typing import Any

log = logging.getLogger(__name__)
AGAIN = "Save it again by save_pretrained, or fetch it anew"


def refuse_others(said: str, told: dict[str, Any], held: Iterable[str]) -> None:
    """Refuse weights that are not those of a model, as a library tells of what it has read.

    Arguments:
        said: what the user called the model.
        told: by ``output_loading_info`` of transformers or diffusers.
        held: names of the tensors of the model.

    Raises:
        ValueError: naming the first tensor of another shape, missing, or beyond the model.
    """
    for name, read, wanted in sorted(told.get("mismatched_keys", ())):
        raise ValueError(
            f"{said}: its weights have {name} of shape {tuple(read)}, and its config.json says "
            f"{tuple(wanted)}; they are not of one model. {AGAIN}"
        )
    refuse_absent(said, sorted(told["missing_keys"]))
    refuse_surplus(said, sorted(told["unexpected_keys"]), held)


def refuse_absent(said: str, missing: list[str]) -> None:
    """Refuse weights that are not there, which the libraries would draw at random.

    Raises:
        ValueError: naming the first of them.
    """
    if missing:
        raise ValueError(
            f"{said} has no weights for {missing[0]}{_more(missing)}, which would be random "
            f"numbers. {AGAIN}"
        )


def refuse_surplus(said: str, surplus: list[str], held: Iterable[str]) -> None:
    """Refuse weights that the libraries would leave out, and the model is another without.

    These are further layers, and further tensors of layers that the model has. What is of no layer
    of the model, such as the head of another task, is left out, which is logged.

    Arguments:
        said: what the user called the model.
        surplus: names of what was left out, but for what the library always leaves out.
        held: names of the tensors of the model.

    Raises:
        ValueError: naming the first of them.
    """
    layers = {_layer(name) for name in held}
    lost = [name for name in surplus if _layer(name) in layers]
    if lost:
        raise ValueError(
            f"{said} has weights that the model of its configuration has no place for: "
            f"{lost[0]}{_more(lost)}; the two are not of one model. {AGAIN}"
        )
    if surplus:
        log.warning(
            "%s has weights that its model does not use, as the heads of other tasks: %s%s",
            said,
            surplus[0],
            _more(surplus),
        )


def _layer(name: str) -> str:
    """Return the layer of a tensor, whatever its number."""
    return re.sub(r"\d+", "#", name).rpartition(".")[0]


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" * (len(names) > 1)
