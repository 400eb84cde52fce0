"""What a language model can take: ids, lengths, and that it sees no token before its turn."""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor, nn

from fimetric.data.rows import RowError
from fimetric.objectives.logits import logits_of
from fimetric.objectives.takes import vocabulary_of
from fimetric.objectives.texts import Texts, refuse_unknown

POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
MOVING = ("dynamic", "longrope")  # rotary frequencies that follow the longest text of a batch
CAUSAL: WeakSet[nn.Module] = WeakSet()
"""Models that were found to be causal; kept here, for an objective is told by its attributes."""


def refuse_beyond(model: nn.Module, texts: Texts, remedy: str) -> None:
    """Raise where a model of transformers has no token or position for a text.

    Arguments:
        model: the language model.
        texts: what it shall read.
        remedy: what to do about a text that is too long for {limit}.

    Raises:
        RowError: naming the row.
    """
    refuse_unknown(texts.tokens, vocabulary_of(model))
    longest, row = int(texts.mask.sum(1).max()), int(texts.mask.sum(1).argmax())
    for limit, why in _limits(model):
        if longest > limit:
            raise RowError(
                [row], f" has {longest} tokens, {why} {limit}; {remedy.format(limit=limit)}"
            )


def longest_text(model: nn.Module) -> int | None:
    """Return how many tokens a text may have for a model; None for as many as one likes.

    Rotary positions go on for ever, but the model has seen so many as its configuration says.
    """
    limits = [limit for limit, _ in _limits(model)]
    config = getattr(model, "config", None)
    return min(limits + (_stated(config) if _rotations(config) else []), default=None)


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
    known, tables = _stated(config), _position_tables(model)
    if known and tables:
        yield min([known[0], *_rows_behind_padding(tables)]), "the model has positions for"
    for rope in _rotations(config):
        kind = rope.get("rope_type", rope.get("type"))
        if kind in MOVING:
            yield (
                rope.get("original_max_position_embeddings", known[0]),
                f"but the rotary positions of the model ({kind}) are the same in every batch up to",
            )


def _stated(config: Any) -> list[int]:
    """Return the numbers of positions that a configuration states."""
    stated = [getattr(config, name, None) for name in POSITIONS]
    return [number for number in stated if isinstance(number, int) and number > 0]


def _position_tables(model: nn.Module) -> list[nn.Embedding]:
    named = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.Embedding)]
    return [part for name, part in named if "pos" in name or name.endswith("wpe")]


def _rows_behind_padding(tables: list[nn.Embedding]) -> list[int]:
    """Return how many rows tables have that count positions behind that of padding (RoBERTa)."""
    marked = [(table.num_embeddings, table.padding_idx) for table in tables]
    return [rows - padding - 1 for rows, padding in marked if padding is not None]


def _rotations(config: Any) -> list[Mapping[str, Any]]:
    """Return the settings of rotary positions: one, or one for each kind of layer."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    return [found, *(part for part in found.values() if isinstance(part, Mapping))] if found else []
