"""What a method sees of a table, where that is not all of it."""

import re
from dataclasses import replace

from fimetric.features.table import Features

BLOCK = re.compile(r"(?<=\.)\d+(?=\.)")  # the first number in the name of a layer
LAST = 5  # blocks
NORMALISATION = re.compile(r"norm|(^|\.)ln(_|\d|\.)", re.IGNORECASE)


def losses_alone(table: Features) -> Features:
    """Return the losses as the only columns, and their parts, so that no gradient counts."""
    return table.with_columns(table.group_losses, table.views)


def last_blocks(table: Features) -> Features:
    """Return the layers of the last five blocks of a deep model.

    Raises:
        ValueError: where there are no more than five.
    """
    found = {name: int(n[0]) for name in table.names if (n := BLOCK.search(name))}
    blocks = sorted(set(found.values()))
    if len(blocks) <= LAST:
        raise ValueError(f"the model has {len(blocks)} blocks; its last {LAST} are all of them")
    return table.columns([name for name, block in found.items() if block in blocks[-LAST:]])


def norm_layers(table: Features) -> Features:
    """Return the normalisation layers, by their names.

    Raises:
        ValueError: where no layer is called so.
    """
    names = [name for name in table.names if NORMALISATION.search(name)]
    if not names:
        raise ValueError(f"no layer of {table!r} is called a normalisation")
    return table.columns(names)


def rounded(table: Features) -> Features:
    """Return the columns to a hundredth: levels that were made equal differ by rounding alone."""
    return replace(table, values=table.values.round(2))
