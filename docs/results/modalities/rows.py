"""Texts of data sets as they are stored, and their beginnings of one number of tokens."""

from dataclasses import dataclass
from typing import Any

import fimetric as fm

TOKENS = 64  # of each text, where all have one length


@dataclass(frozen=True)
class Row:
    """A text of a data set, named by its place there."""

    id: str
    text: str
    label: int


def stored(data: str, part: str) -> list[Row]:
    """Return the texts of a part of a data set in their order."""
    found = fm.data.load(data, part)
    each = zip(found.raw(range(len(found))), found.kept["label"], strict=True)
    return [Row(f"{data}/{part}/{i}", text, int(label)) for i, (text, label) in enumerate(each)]


def beginning(text: str, tokenizer: Any) -> str | None:
    """Return the first ``TOKENS`` tokens of a text as a text.

    None where there are fewer, or where that text would be of other tokens: a letter of several
    bytes can be cut in two, and what merges at an end depends on what follows.

    Arguments:
        tokenizer: of transformers; tokens that it puts before or behind a text count.
    """
    count = TOKENS - tokenizer.num_special_tokens_to_add()
    ids = _ids(text, tokenizer)[:count]
    found = tokenizer.decode(ids, clean_up_tokenization_spaces=False)
    return found if len(ids) == count and _ids(found, tokenizer) == ids else None


def _ids(text: str, tokenizer: Any) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]
