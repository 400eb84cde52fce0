"""Prefixes of own samples, so that samples shorter than those given are judged rightly, too.

Lengths are drawn uniformly in the logarithm, from the shortest that is of use to each sample's own,
one in each bin of lengths at most, where the sample itself is not in that bin. So the calibration
scores in a bin come from different samples, which a p-value asks for.
"""

import itertools
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fimetric.calibration.bins import LEAST, MOST
from fimetric.data import Batch
from fimetric.data.keys import COMPANIONS, MASK, TOKENS
from fimetric.data.kinds import shape_text
from fimetric.detection.grouping import halves
from fimetric.features.length import lengths
from fimetric.features.table import Features
from fimetric.objectives.base import Objective
from fimetric.objectives.reading import read
from fimetric.objectives.takes import length_dimension
from fimetric.typing import Array

SHORTEST = 8  # tokens of a text that tell something
SHARE = 32  # of the longest clip, the shortest: what a second is to a model nobody says
PORTION = 64  # samples that are read at a time


@dataclass(frozen=True)
class Cut:
    """Samples and prefixes of them, one to a batch.

    Arguments:
        rows: each a sample, or a prefix of one.
        bins: (rows,) numbers of the bins of length that they lie in.
    """

    rows: list[Batch]
    bins: NDArray[np.int64]

    def __iter__(self) -> Iterator[Batch]:
        """Yield the samples and prefixes, each as a batch of one."""
        return iter(self.rows)


def edges_of(data: Any, table: Features | None) -> Array | None:
    """Return where bins end and the next begin, (bins - 1,); None of what is no ``Cut``."""
    if not isinstance(data, Cut) or table is None:
        return None
    found, bins = lengths(table), data.bins
    ends = [(found[bins <= b].max(), found[bins > b].min()) for b in range(int(bins.max()))]
    return np.array([(end + start) / 2 for end, start in ends if end < start])


def with_prefixes(
    objective: Objective, data: Any, calibration: Any, seed: int, group_size: int
) -> tuple[Cut, Cut]:
    """Return samples to fit on and others to calibrate on, each with prefixes.

    Arguments:
        objective: makes tensors of texts, and its model tells whether any length will do.
        data: in-distribution samples.
        calibration: others; None takes a seeded half of ``data``, as without prefixes.
        seed: of the halves and the lengths.
        group_size: of the detector.

    Raises:
        ValueError: for groups, samples that cannot be cut, or too few of them.
        TypeError: for features.
    """
    if group_size != 1:
        raise ValueError(f"prefixes=True is for single samples, and group_size is {group_size}")
    own = _samples(objective, data)
    if calibration is None:
        parts = [[own[i] for i in rows] for rows in halves(len(own), 1, seed)]
    else:
        parts = [own, _samples(objective, calibration)]
    if len(parts[1]) < LEAST:
        raise ValueError(
            f"prefixes=True needs {LEAST} samples to calibrate on, as each bin of lengths does, "
            f"and there are {len(parts[1])}; give more, or fit without prefixes"
        )
    place, random = length_dimension(objective.module), np.random.default_rng(seed)
    special = frozenset(getattr(getattr(objective, "tokenizer", None), "all_special_ids", ()))
    return (
        _cut(parts[0], place, special, random, 1),
        _cut(parts[1], place, special, random, LEAST),
    )


def _cut(
    samples: list[Batch],
    place: int | None,
    special: Set[int],
    random: np.random.Generator,
    least: int,
) -> Cut:
    """Return samples with prefixes, in bins that so many of them reach."""
    long = np.array([_length(sample, place) for sample in samples])
    starts = _starts(long, _tokens(samples[0]), least)
    rows: list[Batch] = []
    bins: list[int] = []
    for sample, length in zip(samples, long, strict=True):
        own = int(np.searchsorted(starts[1:], length, side="right"))
        rows.append(sample)
        bins.append(own)
        for number in range(own):
            low, high = np.log(starts[number]), np.log(starts[number + 1])
            drawn = int(np.exp(random.uniform(low, high)) + 1e-9)
            rows.append(_prefix(sample, drawn, place, special))
            bins.append(number)
    return Cut(rows, np.array(bins))


def _starts(long: NDArray[np.int64], tokens: bool, least: int) -> NDArray[np.int64]:
    """Return the shortest length of each bin: even in the logarithm, as far as so many reach.

    The longest length of all has a bin of its own where so many have it, as windows do.
    """
    longest = int(long.max())
    shortest = min(SHORTEST if tokens else max(1, longest // SHARE), longest)
    starts = np.unique(np.ceil(np.geomspace(shortest, longest, MOST + 1) - 1e-9).astype(np.int64))
    reached = [(long >= start).sum() >= least for start in starts]
    return starts[: max(1, sum(reached))]


def _samples(objective: Objective, data: Any) -> list[Batch]:
    """Return samples that can be cut, without padding, one to a batch.

    Raises:
        TypeError: for features.
        ValueError: for samples of another kind.
    """
    if isinstance(data, Features):
        raise TypeError(
            "prefixes=True cuts samples, and Features hold none; pass the texts or clips themselves"
        )
    place = length_dimension(objective.module)
    found = []
    for batch in read(objective, data, PORTION):
        _refuse_uncut(batch, place)
        found += [_bare(batch.cut(i, i + 1)) for i in range(len(batch))]
    return found


def _refuse_uncut(batch: Batch, place: int | None) -> None:
    """Refuse what has no beginning that is a sample itself.

    Raises:
        ValueError: saying what can be cut.
    """
    if isinstance(batch.x, dict):
        fits = TOKENS in batch.x and not set(batch.x) - {TOKENS, *COMPANIONS}
        said = f"entries {', '.join(batch.x)}"
    else:
        known = not batch.x.is_floating_point() or place is not None
        fits = known and batch.x.ndim in ((2, 3) if batch.x.is_floating_point() else (2,))
        said = f"{str(batch.x.dtype).removeprefix('torch.')} of {shape_text(batch.x.shape[1:])}"
    if not fits:
        raise ValueError(
            "prefixes=True cuts texts, as token ids, and clips for a model that takes any length, "
            f"and these samples are {said}; fit without it, on samples of the lengths to be judged"
        )


def _tokens(sample: Batch) -> bool:
    return isinstance(sample.x, dict) or not sample.x.is_floating_point()


def _bare(sample: Batch) -> Batch:
    """Return a text without padding, wherever that stands."""
    if not isinstance(sample.x, dict) or MASK not in sample.x:
        return sample
    places = sample.x[MASK][0] != 0
    return replace(sample, x={key: value[:, places] for key, value in sample.x.items()})


def _length(sample: Batch, place: int | None) -> int:
    return _data(sample).shape[_dimension(sample, place)]


def _data(sample: Batch) -> Tensor:
    return sample.x[TOKENS] if isinstance(sample.x, dict) else sample.x


def _dimension(sample: Batch, place: int | None) -> int:
    """Return which dimension of a batch of one counts positions: of (T,) the only one."""
    ordered = _data(sample).ndim == 2 or place is None
    return 1 if ordered or place == 0 else -1


def _prefix(sample: Batch, length: int, place: int | None, special: Set[int]) -> Batch:
    """Return the first positions of a sample, and what ends every text, under a name that says so.

    Arguments:
        sample: one.
        length: of the prefix.
        place: see ``length_dimension``.
        special: tokens that a tokenizer puts at the end of each text, among others.
    """
    dimension, ending = _dimension(sample, place), _ending(sample, special)
    ending, whole = min(ending, length - 1), _length(sample, place)
    positions = torch.cat(
        [torch.arange(length - ending), torch.arange(whole - ending, whole)],
    )
    cut = {k: v.index_select(dimension, positions) for k, v in sample.entries().items()}
    x = cut if isinstance(sample.x, dict) else cut["x"]
    return replace(sample, x=x, ids=[f"{sample.ids[0]}[:{length}]"], raw=None)


def _ending(sample: Batch, special: Set[int]) -> int:
    """Return the number of special tokens at the end of a text."""
    if not special or not _tokens(sample):
        return 0
    ending = itertools.takewhile(special.__contains__, reversed(_data(sample)[0].tolist()))
    return sum(1 for _ in ending)
