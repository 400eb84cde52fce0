"""The models of a grid, each with the sets that it is tried on."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fimetric.benchmark.config import CALIBRATE, FIT, Grid
from fimetric.benchmark.own import LEAKS, PARTS, Own, Trained, called
from fimetric.benchmark.variants import make
from fimetric.data import Samples
from fimetric.data.named import Named
from fimetric.store.files import safe_name


@dataclass(frozen=True)
class Case:
    """One trained model: its set, how it was trained, and the seed of the training.

    ``without`` are methods that its model or data do not allow, each with the reason.
    """

    grid: Grid
    own: Own
    trained: Trained
    seed: int
    without: tuple[tuple[str, str], ...] = ()

    @property
    def first(self) -> bool:
        """Whether this is the model of its kind that stands in all tables."""
        return self.seed == self.trained.seeds[0]

    @property
    def name(self) -> str:
        """Name of the model, such as ``mnist-vae`` or, of another seed, ``mnist-vae-1``."""
        name = f"{safe_name(self.own.name)}-{safe_name(self.trained.kind)}"
        return name if self.first else f"{name}-{self.seed}"

    @property
    def members(self) -> tuple["Case", ...]:
        """All models of the kind, one a seed, this one first."""
        others = [seed for seed in self.trained.seeds if seed != self.seed]
        return (self, *(Case(self.grid, self.own, self.trained, seed) for seed in others))

    @property
    def sets(self) -> dict[str, str]:
        """Foreign set -> far or near. Looks are of images, and for the first seed alone."""
        near = dict.fromkeys([*map(called, self.own.near), *self.looks], "near")
        return dict.fromkeys(map(called, self.own.far), "far") | near

    @property
    def looks(self) -> tuple[str, ...]:
        """Variants of the own test images."""
        images = self.trained.family.samples == "images"
        return self.grid.looks if self.first and images else ()

    @property
    def leaks(self) -> tuple[str, ...]:
        """Own sets that no method may tell from the own test part."""
        return LEAKS if self.grid.leak_checks else ()


def cases(grid: Grid) -> list[Case]:
    """Return all models of a grid."""
    return [
        Case(grid, own, trained, seed)
        for own in grid.sets
        for trained in own.models
        for seed in trained.seeds
    ]


class Sets:
    """The data that a model is tried on, loaded when asked for."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self._sources = {called(s): s for s in (*case.own.far, *case.own.near)}
        self._foreign: dict[str, Samples] = {}

    @cached_property
    def train(self) -> Samples:
        """The training part of the own set, all of it.

        Raises:
            ValueError: where the set has no parts, so that it is what is tested on.
        """
        train, test = self._open(self.case.own.data, "train", None), self.parts["test"]
        if set(test.ids) <= set(train.ids):
            same = train.ids.index(test.ids[0])
            if _equal(train.raw([same])[0], test.raw([0])[0]):
                raise ValueError(
                    f"{self.case.own.data} has no training part apart from what is tested on; "
                    "give a folder with files called train and test"
                )
        return train

    @cached_property
    def parts(self) -> Mapping[str, Samples]:
        """The own held-out data for density, calibration and test, in the order of the file.

        Raises:
            ValueError: where the set is smaller than the grid asks for.
        """
        if self.case.own.reference is not None:
            return self._parts_beside(self.case.own.reference)
        grid = self.case.grid
        pool = self._open(self.case.own.data, "test", grid.held_out)
        if len(pool) < grid.held_out:
            raise ValueError(
                f"{self.case.own.data} has {len(pool)} held-out samples; held_out={grid.held_out} "
                f"asks for more: set held_out = {len(pool)}, or less"
            )
        fit, calibrate = int(FIT * grid.held_out), int(CALIBRATE * grid.held_out)
        chosen = split(pool.ids, self.case.own.alike, (fit, calibrate, grid.samples), grid.seed)
        return {p: pool.select(np.sort(i).tolist()) for p, i in zip(PARTS, chosen, strict=True)}

    def _parts_beside(self, reference: str) -> Mapping[str, Samples]:
        """Return the parts where those for density and calibration are a set of their own.

        Raises:
            ValueError: where the set is too small for the groups.
        """
        beside = self._open(reference, "test", None)
        least = 4 * max(self.case.grid.group_sizes)
        if len(beside) < least:
            raise ValueError(
                f"{reference} has {len(beside)} samples; a reference needs {least}, four for each "
                f"of the largest group: group_sizes are {self.case.grid.group_sizes}"
            )
        fit, calibration = split(beside.ids, None, (len(beside) // 2, len(beside) // 2, 0), 0)[:2]
        halves = (beside.select(np.sort(rows).tolist()) for rows in (fit, calibration))
        test = self._enough(self._open(self.case.own.data, "test", self.case.grid.samples))
        return dict(zip(PARTS, (*halves, test), strict=True))

    def foreign(self, name: str) -> Samples:
        """Return a foreign set, a look of the own test images, or one of ``LEAKS``.

        Raises:
            ValueError: for a set with fewer samples than the grid's ``samples``.
        """
        if name not in self._foreign:
            made = self._made(name)
            self._foreign[name] = made if name in self.case.leaks else self._enough(made)
        return self._foreign[name]

    def _made(self, name: str) -> Samples:
        grid, test = self.case.grid, self.parts["test"]
        if name in self.case.looks:
            return make(name, test, grid.seed)
        if name in self.case.leaks:
            return self.parts["calibration"] if name == LEAKS[0] else test
        return self._open(self._sources[name], "test", grid.samples)

    def _enough(self, samples: Samples) -> Samples:
        """Return samples, unless they are fewer than the grid asks for.

        Raises:
            ValueError: naming the set.
        """
        grid = self.case.grid
        if len(samples) < (grid.fewest or grid.samples):
            raise ValueError(
                f"{samples.name} has {len(samples)} samples, fewer than "
                + (f"fewest={grid.fewest}" if grid.fewest else f"samples={grid.samples}")
                + f": set fewest = {len(samples)}, or less, where so few will do"
            )
        return samples

    def all(self) -> dict[str, Samples]:
        """Return the own parts and all foreign sets by name."""
        names = (*self.case.sets, *self.case.leaks)
        return {**self.parts, **{name: self.foreign(name) for name in names}}

    def _open(self, name: str, part: str, limit: int | None) -> Samples:
        """Return a set, pictures grey or coloured and of a side as grid and own set have it.

        Raises:
            ValueError: for sounds of another rate than the own ones.
        """
        grid, own = self.case.grid, self.case.own
        named = Named(part, limit, grid.size)
        if name in (own.data, own.reference) or self.case.trained.family.samples == "texts":
            return own.open(name, named)
        shape = self.parts["fit"].shape
        channels = shape[0] if self.case.trained.family.samples == "images" else None
        found = own.open(name, replace(named, channels=channels), shape)
        rates = [getattr(each, "rate", None) for each in (found, self.parts["fit"])]
        if None not in rates and rates[0] != rates[1]:
            raise ValueError(
                f"{name} has {rates[0]} values a second, {own.data} {rates[1]}: rates alone would "
                f"tell them apart; give the set {own.data} a rate = {min(filter(None, rates))}"
            )
        return found


def _equal(a: Any, b: Any) -> bool:
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def split(
    ids: Sequence[str], alike: str | None, sizes: tuple[int, int, int], seed: int
) -> list[NDArray[np.int64]]:
    """Return the rows for density, calibration and test, drawn at random with a seed.

    Arguments:
        ids: names of the samples.
        alike: pattern; samples for which it finds the same text are nearly the same, and stay in
            one part. The first two parts then are a little smaller than asked for.
        sizes: of the parts.
        seed: of the permutation.

    Raises:
        ValueError: where the pattern does not occur in a name, or a part would be empty.
    """
    fit, calibrate, test = sizes
    random = np.random.default_rng(seed)
    if alike is None:
        return np.split(random.permutation(len(ids)), np.cumsum(sizes))[:3]
    kinds, kind = np.unique([_kind(alike, name) for name in ids], return_inverse=True)
    rank = random.permutation(len(kinds))[kind]
    order = np.argsort(rank, kind="stable")
    ranks = rank[order]
    cuts = [int(np.searchsorted(ranks, ranks[p])) for p in (fit, fit + calibrate)]
    parts = np.split(order, cuts)
    if min(map(len, parts)) < 2:
        raise ValueError(f"{len(kinds)} kinds of {alike!r} are too few for three parts")
    return [parts[0], parts[1], random.permutation(parts[2])[:test]]


def _kind(alike: str, name: str) -> str:
    found = re.search(alike, name)
    if found is None:
        raise ValueError(f"alike = {alike!r} does not occur in {name!r}")
    return found.group()
