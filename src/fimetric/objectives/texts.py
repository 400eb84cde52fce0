"""Texts as a causal model reads them: the tokens of each row in order, all padding behind them.

Padding in front of a text shifts its positions in most models, and its state in recurrent ones.
Whatever stands behind, a causal model cannot see. It needs no mask then, which is better than to
give one: positions with nothing to attend to, as in a sliding window behind a text, are nan in some
models, and nan times a weight of zero is nan.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fimetric.data.rows import RowError

ENTRIES = ("input_ids", "attention_mask", "position_ids")
WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class Texts(NamedTuple):
    """Texts of a batch, side by side, the longest without padding."""

    tokens: Tensor
    """Token ids (N, T), int64; behind a text its last token again, which the model surely knows."""
    mask: Tensor
    """Where there is text, (N, T), bool: the first tokens of each row."""

    def cut(self, length: int | None) -> "Texts":
        """Return the beginnings of the texts, of so many tokens at most; None leaves them."""
        return Texts(self.tokens[:, :length], self.mask[:, :length])


def texts_of(batch: Any, least: int = 2) -> Texts:
    """Return the texts of a batch, wherever padding stands in it, between tokens too.

    Arguments:
        batch: token ids (N, T), or a mapping with ``input_ids`` and perhaps ``attention_mask``
            (N, T), 1 at the tokens of the text and 0 at padding. ``position_ids`` may only say
            what holds without them: that the tokens of each text are counted from 0 on.
        least: tokens of a text, 2 where the first is given and not predicted.

    Raises:
        TypeError: for what is no tensor of whole numbers.
        ValueError: for other entries or shapes, negative ids, and texts without a token to predict.
    """
    given = batch if isinstance(batch, Mapping) else {"input_ids": batch}
    _refuse_entries(given)
    tokens = _token_ids(given["input_ids"])
    mask = _mask(given.get("attention_mask"), tokens)
    _refuse_positions(given.get("position_ids"), mask)
    texts = _moved(tokens, mask, least)
    refuse_unknown(texts.tokens, None)
    return texts


def _moved(tokens: Tensor, mask: Tensor, least: int) -> Texts:
    """Return the tokens under a mask of any form, moved to the front of their rows."""
    lengths = mask.sum(1, keepdim=True)
    refuse_short(lengths.flatten().tolist(), least)
    place = torch.arange(int(lengths.max()), device=tokens.device)
    order = mask.logical_not().byte().argsort(dim=1, stable=True)
    order = order.gather(1, torch.minimum(place, lengths - 1))
    return Texts(tokens.gather(1, order), place < lengths)


def refuse_unknown(tokens: Tensor, vocabulary: int | None) -> None:
    """Refuse ids outside of the vocabulary; None: of any size.

    Raises:
        RowError: naming the first of them.
    """
    wrong = tokens < 0
    if vocabulary is not None:
        wrong |= tokens >= vocabulary
    if not wrong.any():
        return
    row, place = wrong.nonzero()[0].tolist()
    known = "0 or more" if vocabulary is None else f"0 to {vocabulary - 1}"
    raise RowError(
        [row],
        f" has the token id {int(tokens[row, place])}; ids are {known}. Take the tokenizer that "
        "belongs to the model, and mark padding by 0 in attention_mask",
    )


def _refuse_entries(given: Mapping[str, Any]) -> None:
    if "input_ids" not in given:
        raise ValueError(f"the batch has no input_ids, only {', '.join(given)}")
    others = [key for key in given if key not in ENTRIES]
    if others:
        raise ValueError(
            f"the batch has {', '.join(others)} beside {' and '.join(ENTRIES[:2])}; a loss is that "
            "of the text alone, so leave the others out"
        )


def _token_ids(tokens: Any) -> Tensor:
    if not isinstance(tokens, Tensor):
        raise TypeError(
            f"input_ids must be a tensor of token ids (N, T), not {type(tokens).__name__}; "
            'tokenizer(texts, padding=True, return_tensors="pt") makes one'
        )
    if tokens.dtype not in WHOLE:
        raise TypeError(f"input_ids must be whole numbers such as int64, not {tokens.dtype}")
    if tokens.ndim != 2:
        hint = "; for a single text give input_ids[None]" if tokens.ndim == 1 else ""
        raise ValueError(f"input_ids must have shape (N, T), not {tuple(tokens.shape)}{hint}")
    if not len(tokens):
        raise ValueError(f"input_ids of shape {tuple(tokens.shape)} hold no text")
    return tokens.long()


def _mask(mask: Any, tokens: Tensor) -> Tensor:
    if mask is None:
        return torch.ones_like(tokens, dtype=torch.bool)
    if not isinstance(mask, Tensor):
        raise TypeError(
            f"attention_mask must be a tensor (N, T), 1 at tokens and 0 at padding, not "
            f"{type(mask).__name__}"
        )
    if mask.shape != tokens.shape:
        raise ValueError(
            f"attention_mask has shape {tuple(mask.shape)}, input_ids {tuple(tokens.shape)}; give "
            "both as (N, T)"
        )
    if not ((mask == 0) | (mask == 1)).all():
        raise ValueError(
            f"attention_mask holds values from {mask.min().item()} to {mask.max().item()}; it must "
            "be 1 at tokens and 0 at padding, and each text of a packed row a row of its own"
        )
    return mask.bool()


def _refuse_positions(positions: Any, mask: Tensor) -> None:
    if positions is None:
        return
    fits = isinstance(positions, Tensor) and positions.shape in (mask.shape, mask[:1].shape)
    if not fits or ((positions != mask.cumsum(1) - 1) & mask).any():
        raise ValueError(
            "position_ids must count the tokens of each text from 0 on; leave them out: that is "
            "how they are counted, wherever padding stands"
        )


def refuse_short(lengths: Sequence[int], least: int) -> None:
    """Refuse texts of too few tokens.

    Raises:
        RowError: naming the rows.
    """
    short = [row for row, length in enumerate(lengths) if length < least]
    if not short:
        return
    why = (
        "a text without tokens has none to predict; leave it out"
        if least == 1
        else "a text of fewer than two tokens has none to predict, as the first is given; leave it "
        "out, or put a beginning-of-text token in front of every text"
    )
    raise RowError(short, f": {why}")
