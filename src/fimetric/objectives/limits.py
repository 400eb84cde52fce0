"""What a language model can take: ids, lengths, and that it sees no token before its turn."""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from fimetric.objectives.logits import logits_of
from fimetric.objectives.takes import vocabulary_of
from fimetric.objectives.texts import Texts, refuse_unknown

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
MOVING = ("dynamic", "longrope")  # rotary frequencies that follow the longest text of a batch
CAUSAL: WeakSet[nn.Module] = WeakSet()
"""Models that were found to be causal; kept here, for an objective is told by its attributes."""


def refuse_beyond(model: nn.Module, texts: Texts) -> None:
    """Raise where a model of transformers has no token or position for a text.

    Raises:
        ValueError: naming the row.
    """
    refuse_unknown(texts.tokens, vocabulary_of(model))
    longest, row = int(texts.mask.sum(1).max()), int(texts.mask.sum(1).argmax())
    for limit, why in _limits(model):
        if longest > limit:
            raise ValueError(
                f"row {row} of the batch has {longest} tokens, {why} {limit}; shorten the text, or "
                "give its parts as texts of their own"
            )


def refuse_foresight(model: nn.Module, texts: Texts) -> None:
    """Raise where the logits of a token change with what stands behind; asked once of each model.

    Arguments:
        model: see ``logits_of``.
        texts: the longest is taken, with and without its last token.

    Raises:
        ValueError: where they change: a loss would know the token, and padding would count.
    """
    if model in CAUSAL:
        return
    text = texts.tokens[texts.mask.sum(1).argmax()][None]
    with torch.no_grad():
        longer, shorter = logits_of(model, text)[:, :-1], logits_of(model, text[:, :-1])
    if (longer - shorter).abs().max() > _rounding(longer) * longer.abs().max():
        raise ValueError(
            f"{type(model).__name__} is no causal language model: its logits of a token change "
            "with the tokens behind it. Take one that predicts each token from those before it; "
            "some are made so by a setting, such as is_decoder=True in BERT"
        )
    CAUSAL.add(model)


def _rounding(logits: Tensor) -> float:
    return 5e-2 if logits.dtype.itemsize < 4 else 1e-4


def _limits(model: nn.Module) -> Iterator[tuple[int, str]]:
    """Yield numbers of tokens that must not be exceeded, with the reason."""
    config = getattr(model, "config", None)
    stated = [getattr(config, name, None) for name in POSITIONS]
    known = [number for number in stated if isinstance(number, int) and number > 0]
    if known and _learns_positions(model):
        yield known[0], "the model has positions for"
    for rope in _rotations(config):
        kind = rope.get("rope_type", rope.get("type"))
        if kind in MOVING:
            yield (
                rope.get("original_max_position_embeddings", known[0]),
                f"but the rotary positions of the model ({kind}) are the same in every batch up to",
            )


def _learns_positions(model: nn.Module) -> bool:
    tables = (name for name, part in model.named_modules() if isinstance(part, nn.Embedding))
    return any("pos" in name or name.endswith("wpe") for name in tables)


def _rotations(config: Any) -> list[Mapping[str, Any]]:
    """Return the settings of rotary positions: one, or one for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [found, *(part for part in found.values() if isinstance(part, Mapping))]
