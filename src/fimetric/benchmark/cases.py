"""The models of a grid, each with the sets that it is tried on."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from fimetric.benchmark.config import CALIBRATE, FIT, Grid, Own, Recipe
from fimetric.benchmark.variants import make
from fimetric.data import Samples
from fimetric.files import safe_name
from fimetric.inputs import Named

PARTS = ("fit", "calibration", "test")


@dataclass(frozen=True)
class Case:
    """One trained model: its set, how it was trained, and the seed of the training."""

    grid: Grid
    own: Own
    recipe: Recipe
    seed: int

    @property
    def first(self) -> bool:
        """Whether this is the model of its kind that stands in all tables."""
        return self.seed == self.recipe.seeds[0]

    @property
    def name(self) -> str:
        """Name of the model, such as ``mnist-vae`` or, of another seed, ``mnist-vae-1``."""
        name = f"{safe_name(self.own.data)}-{self.recipe.kind}"
        return name if self.first else f"{name}-{self.seed}"

    @property
    def members(self) -> tuple["Case", ...]:
        """All models of the kind, one a seed, this one first."""
        others = [seed for seed in self.recipe.seeds if seed != self.seed]
        return (self, *(Case(self.grid, self.own, self.recipe, seed) for seed in others))

    @property
    def sets(self) -> dict[str, str]:
        """Foreign set -> far or near. Looks are for the first seed alone."""
        looks = self.grid.looks if self.first else ()
        near = dict.fromkeys([*self.own.near, *looks], "near")
        return dict.fromkeys(self.own.far, "far") | near


def cases(grid: Grid) -> list[Case]:
    """Return all models of a grid."""
    return [
        Case(grid, own, recipe, seed)
        for own in grid.sets
        for recipe in own.models
        for seed in recipe.seeds
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
        order = np.random.default_rng(grid.seed).permutation(grid.held_out)
        fit, calibrate = int(FIT * grid.held_out), int(CALIBRATE * grid.held_out)
        chosen = np.split(order, [fit, fit + calibrate, fit + calibrate + grid.samples])[:3]
        return {p: pool.select(np.sort(i).tolist()) for p, i in zip(PARTS, chosen, strict=True)}

    def foreign(self, name: str) -> Samples:
        """Return a foreign set, or a look of the own test images."""
        grid = self.case.grid
        if name not in self._foreign:
            look = name in grid.looks
            self._foreign[name] = (
                make(name, self.parts["test"], grid.seed)
                if look
                else self._open(name, "test", grid.samples)
            )
        return self._foreign[name]

    def all(self) -> dict[str, Samples]:
        """Return the own parts and all foreign sets by name."""
        return {**self.parts, **{name: self.foreign(name) for name in self.case.sets}}

    def _open(self, name: str, split: str, limit: int | None) -> Samples:
        """Return a set, grey or coloured and of a side as the grid and the own set have it."""
        grid = self.case.grid
        named = Named(split, limit, grid.size, None)
        if name == self.case.own.data:
            return named.open(name)
        shape = self.parts["fit"].shape
        return Named(split, limit, grid.size, shape[0]).open(name, shape)


def model_folder(case: Case, run: Path) -> Path:
    """Return where a model is: among the committed ones, or in the folder of the run."""
    if case.grid.checkpoints is not None:
        committed = Path(case.grid.checkpoints) / case.name
        if (committed / "config.json").exists():
            return committed
    return run / "models" / case.name
