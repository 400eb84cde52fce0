"""What the page shows: a benchmark for each modality, and which of its methods are whose."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from fimetric.benchmark.comparing import Found
from fimetric.benchmark.config import Grid, read
from fimetric.benchmark.results import Comparison
from fimetric.benchmark.run import run
from fimetric.metrics import Estimate

HERE = Path(__file__).parent
RUNS = HERE.parents[2] / "runs" / "modalities"
DEFAULT, LOSSES, CHEAP = "fimetric", "losses-alone", "cheap"
PAPER = ("layerwise-gaussian", "layerwise-gaussian-of-means")
"""The density of the paper: of joint gradients, or, where these would take hours, of means."""
COMMON = ("likelihood", "typicality", *PAPER, DEFAULT, LOSSES, CHEAP)
NO_RIVALS = {DEFAULT, LOSSES, CHEAP, "last-blocks", "norm-layers", "loudness"}
"""Ours, what is shown to explain, and the energy that must not decide."""
NAMES = ("text", "natural", "pretrained", "audio", "tables", "images")


@dataclass(frozen=True)
class Panel:
    """Comparisons that are shown together: of one own set, or of one family on several."""

    title: str
    comparisons: list[Comparison]
    own: str | None = None

    @property
    def sets(self) -> list[str]:
        """Names of the rows, far ones first."""
        order = sorted(self.comparisons, key=lambda c: c.distance)  # far, near
        return list(dict.fromkeys(map(self.label, order)))

    def label(self, c: Comparison) -> str:
        """Return the name of a row: the foreign set, or the pair of sets."""
        return c.other if self.own else f"{c.own} → {c.other.removeprefix(f'{c.own}-')}"

    def row(self, name: str) -> dict[str, Comparison]:
        """Return method -> comparison of a row."""
        return {c.method: c for c in self.comparisons if self.label(c) == name}


@dataclass(frozen=True)
class Study:
    """One modality: its grid, and what the benchmark found."""

    name: str
    grid: Grid
    found: Found
    folder: Path

    @cached_property
    def owns(self) -> list[tuple[str, str]]:
        """Model and own set, in the order of the grid."""
        return [(case.name, case.own.name) for case in self.found.models]

    def panels(self, size: int) -> list["Panel"]:
        """Return the comparisons at one group size, a panel a model.

        Where every own set has one foreign set, it is a panel a family: own sets are its rows.
        """
        found = [
            Panel(f"{case.own.name}: {case.trained.kind}", self.of(case.name, size), case.own.name)
            for case in self.found.models
        ]
        if any(len(panel.sets) > 1 for panel in found):
            return found
        families = dict.fromkeys(case.trained.kind for case in self.found.models)
        every = [c for panel in found for c in panel.comparisons]
        return [Panel(name, [c for c in every if c.family == name]) for name in families]

    def of(self, model: str, size: int) -> list[Comparison]:
        """Return the comparisons of a model at one group size."""
        return [
            c
            for c in self.found.comparisons
            if (c.model, c.group_size, c.arrangement) == (model, size, "random")
        ]

    def methods(self, comparisons: Sequence[Comparison]) -> list[str]:
        """Return the methods that were tried, the common ones first, then as in the grid."""
        tried = {c.method for c in comparisons}
        order = dict.fromkeys((*COMMON, *self.grid.methods))
        return [method for method in order if method in tried]

    def best_rival(self, comparison: Comparison) -> Comparison:
        """Return the best single rival on the same pair of sets."""
        rivals = [
            c
            for c in self.of(comparison.model, comparison.group_size)
            if c.other == comparison.other and c.method not in NO_RIVALS
        ]
        return max(rivals, key=lambda c: c.auroc)

    def lead(self, comparison: Comparison) -> Estimate:
        """Return by how much a method is above the best rival, resampled in pairs."""
        return self.found.difference(comparison, self.best_rival(comparison).method)


def study(name: str, jobs: int | None = None) -> Study:
    """Run a benchmark, or read what it left."""
    grid = read(HERE / f"{name}.toml")
    return Study(name, grid, run(grid, RUNS / name, jobs), RUNS / name)
