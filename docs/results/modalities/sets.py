"""How the sets of a page are written: a folder each, and beside them what was counted."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fimetric.store.files import whole_file

PLACE = Path("runs/modalities/data")
SEED = 0
Counts = dict[str, dict[str, float]]


def write(folder: Path, part: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Write a part of a set, which ``fimetric.data.load(folder, part)`` opens."""
    with whole_file(folder / f"{part}.parquet") as place:
        pq.write_table(pa.table(dict(columns)), place)


def write_counts(file: Path, counts: Counts) -> None:
    """Write how many samples each set has, and how many were left out of it."""
    with whole_file(file) as place:
        place.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
