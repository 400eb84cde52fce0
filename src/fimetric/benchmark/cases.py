"""The models of a grid, each with the sets that it is tried on."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fimetric.benchmark.config import CALIBRATE, FIT, PARTS, Grid, Own, Trained
from fimetric.benchmark.variants import make
from fimetric.data import Samples
from fimetric.data.named import Named
from fimetric.models.family import family
from fimetric.models.folder import describe
from fimetric.store.files import safe_name


@dataclass(frozen=True)
class Case:
    """One trained model: its set, how it was trained, and the seed of the training."""

    grid: Grid
    own: Own
    trained: Trained
    seed: int

    @property
    def first(self) -> bool:
        """Whether this is the model of its kind that stands in all tables."""
        return self.seed == self.trained.seeds[0]

    @property
    def name(self) -> str:
        """Name of the model, such as ``mnist-vae`` or, of another seed, ``mnist-vae-1``."""
        name = f"{safe_name(self.own.data)}-{self.trained.kind}"
        return name if self.first else f"{name}-{self.seed}"

    @property
    def members(self) -> tuple["Case", ...]:
        """All models of the kind, one a seed, this one first."""
        others = [seed for seed in self.trained.seeds if seed != self.seed]
        return (self, *(Case(self.grid, self.own, self.trained, seed) for seed in others))

    @property
    def sets(self) -> dict[str, str]:
        """Foreign set -> far or near. Looks are for the first seed alone."""
        looks = self.grid.looks if self.first else ()
        near = dict.fromkeys([*self.own.near, *looks], "near")
        return dict.fromkeys(self.own.far, "far") | near


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
        self._foreign: dict[str, Samples] = {}

    @cached_property
    def train(self) -> Samples:
        """The training part of the own set, all of it."""
        return self._open(self.case.own.data, "train", None)

    @cached_property
    def parts(self) -> Mapping[str, Samples]:
        """The own held-out data for density, calibration and test, in the order of the file.

        Raises:
            ValueError: where the set is smaller than the grid asks for.
        """
        grid = self.case.grid
        pool = self._open(self.case.own.data, "test", grid.held_out)
        if len(pool) < grid.held_out:
            raise ValueError(
                f"{self.case.own.data} has {len(pool)} held-out samples; held_out={grid.held_out} "
                "asks for more"
            )
        fit, calibrate = int(FIT * grid.held_out), int(CALIBRATE * grid.held_out)
        chosen = split(pool.ids, self.case.own.alike, (fit, calibrate, grid.samples), grid.seed)
        return {p: pool.select(np.sort(i).tolist()) for p, i in zip(PARTS, chosen, strict=True)}

    def foreign(self, name: str) -> Samples:
        """Return a foreign set, or a look of the own test images.

        Raises:
            ValueError: for a set with fewer samples than the grid's ``samples``.
        """
        grid = self.case.grid
        if name not in self._foreign:
            look = name in grid.looks
            self._foreign[name] = (
                make(name, self.parts["test"], grid.seed)
                if look
                else self._open(name, "test", grid.samples)
            )
        if len(self._foreign[name]) < grid.samples:
            raise ValueError(
                f"{name} has {len(self._foreign[name])} samples, fewer than samples={grid.samples}"
            )
        return self._foreign[name]

    def all(self) -> dict[str, Samples]:
        """Return the own parts and all foreign sets by name."""
        return {**self.parts, **{name: self.foreign(name) for name in self.case.sets}}

    def _open(self, name: str, part: str, limit: int | None) -> Samples:
        """Return a set, grey or coloured and of a side as the grid and the own set have it."""
        grid = self.case.grid
        named = Named(part, limit, grid.size, None)
        if name == self.case.own.data:
            return named.open(name)
        shape = self.parts["fit"].shape
        return Named(part, limit, grid.size, shape[0]).open(name, shape)


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


def model_folder(case: Case, run: Path) -> Path:
    """Return where a model is: among the committed ones, or in the folder of the run.

    In the run it is named by all that it is trained from.

    Raises:
        ValueError: where the committed model is of another configuration than the grid's.
    """
    if case.grid.checkpoints is not None:
        committed = Path(case.grid.checkpoints) / case.name
        if (committed / "config.json").exists():
            _check_committed(case, committed)
            return committed
    how = case.trained
    what = [case.own.data, how.kind, _fields(how.config), how.steps, how.batch_size]
    what += [how.validate_every, case.seed, case.grid.size]
    mark = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    return run / "models" / f"{case.name}-{mark}"


def _check_committed(case: Case, folder: Path) -> None:
    found = describe(folder)
    model = family(case.trained.kind).model
    config: Any = case.trained.config
    config = model.CONFIGS[config] if isinstance(config, str) else model.Config(**config)
    wanted = json.loads(json.dumps(asdict(config)))
    if found.kind != case.trained.kind or found.config != wanted:
        raise ValueError(
            f"{folder} is a {found.kind} of {found.config}, the grid asks for a "
            f"{case.trained.kind} of {wanted}; change the grid, or move the model away"
        )


def _fields(config: Any) -> Any:
    return config if isinstance(config, str) else dict(config)
