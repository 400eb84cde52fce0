"""Stretches of 256 tokens of rows joined in their stored order, and the parts that they go to."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from tokenizers import Tokenizer

LENGTH = 256
SIZES = {"fit": 300, "calibration": 300}  # stretches; all others are tested on, 500 at least
SEED = 0  # of the parts
TRAINING = {"wikitext2": 1600, "python_code": 5000}  # first rows of the train part; no others
Tokens = NDArray[np.int64]


@dataclass(frozen=True)
class Row:
    """A text of a data set as it is stored."""

    name: str
    text: str
    label: int


def stored(data: str, part: str) -> list[Row]:
    """Return the rows of a part of a data set in their order."""
    table = pq.read_table(Path(os.environ["FIMETRIC_DATA"]) / data / f"{part}.parquet")
    each = zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)
    return [Row(f"{data}/{part}/{i}", text, label) for i, (text, label) in enumerate(each)]


def joined(rows: Sequence[Sequence[int]]) -> list[tuple[Tokens, list[int]]]:
    """Return stretches, each with the rows that it is made of.

    A stretch begins with a row; what is left of its last row goes to no other one.
    """
    found, tokens, used = [], [], []
    for number, row in enumerate(rows):
        tokens += row
        used.append(number)
        if len(tokens) >= LENGTH:
            found.append((np.array(tokens[:LENGTH]), used))
            tokens, used = [], []
    return found


def of(data: str, tokenizer: Tokenizer, own: bool = True) -> list[Tokens]:
    """Return all stretches of rows that the model of a data set was not trained on, by label."""
    rows = stored(data, "test")
    rows += stored(data, "train")[TRAINING[data] :] if own else []
    found = []
    for label in sorted({row.label for row in rows}) if data == "python_code" else [None]:
        texts = [row.text for row in rows if label in (None, row.label)]
        found += [stretch for stretch, _ in joined([e.ids for e in tokenizer.encode_batch(texts)])]
    return found


def parts(stretches: int, seed: int = SEED) -> dict[str, Tokens]:
    """Return which stretches to fit on, to calibrate on and to test on, by a seeded draw."""
    order = np.random.default_rng(seed).permutation(stretches)
    first, second = SIZES["fit"], SIZES["fit"] + SIZES["calibration"]
    return {"fit": order[:first], "calibration": order[first:second], "test": order[second:]}
