"""What claims are measured on: an objective, its own data, foreign data, the model's samples."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fimetric.data import Samples
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.fingerprint.digest import update
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.objectives import Objective
from fimetric.store.files import safe_name

CRITERIA = 2  # raised when a claim's criterion or numbers change: older findings are then refused


@dataclass(frozen=True)
class Drawn:
    """Samples of the model itself.

    Arguments:
        objective: that takes them as they are: for a flow, the one that does not dequantise.
        samples: draws of the model.
        how: how they were drawn, in words.
        control: a few more, drawn in another way.
    """

    objective: Objective
    samples: Samples
    how: str
    control: Samples | None = None


@dataclass(frozen=True)
class Study:
    """A model and the data that its claims are measured on.

    Arguments:
        objective: what is differentiated.
        own: in-distribution data that the model was not trained on.
        foreign: name -> out-of-distribution data; may be empty.
        drawn: samples of the model, or None where it has no sampler.
        folder: where features are kept, so that a stopped study goes on.
        limit: samples taken of each set, after a seeded permutation.
        seed: of permutations, bootstraps and random weights.
        batch_size: samples to a forward pass.
        progress: whether to show progress.
    """

    objective: Objective
    own: Samples
    foreign: Mapping[str, Samples]
    drawn: Drawn | None
    folder: Path
    limit: int = 1000
    seed: int = 0
    batch_size: int = 64
    progress: bool = True

    def __post_init__(self) -> None:
        """Check names and shapes.

        Raises:
            ValueError: naming the set that is in-distribution and foreign too, or has samples of
                another shape.
        """
        if self.own.name in self.foreign:
            raise ValueError(f"{self.own.name} is in-distribution; it cannot be foreign too")
        for name, samples in self.foreign.items():
            if samples.shape != self.own.shape:
                raise ValueError(
                    f"{name} has samples of shape {samples.shape}, {self.own.name} of "
                    f"{self.own.shape}; both must suit the model"
                )

    @cached_property
    def sets(self) -> dict[str, Samples]:
        """Name -> the samples taken of each set, the in-distribution set first."""
        every = {self.own.name: self.own, **self.foreign}
        return {name: self._part(samples) for name, samples in every.items()}

    def _part(self, samples: Samples) -> Samples:
        order = np.random.default_rng(self.seed).permutation(len(samples))[: self.limit]
        return samples.select(order.tolist())

    def features(self, name: str) -> Features:
        """Return the log norms of the samples taken of one set; kept in the folder."""
        place = self.folder / "features" / safe_name(name)
        return extract(
            self.objective, self.sets[name], self.batch_size, folder=place, progress=self.progress
        )

    def drawn_features(self) -> Features | None:
        """Return the log norms of the model's own samples, where there are any; kept likewise."""
        if self.drawn is None:
            return None
        return extract(
            self.drawn.objective,
            self.drawn.samples,
            self.batch_size,
            folder=self.folder / "features" / "model-samples",
            progress=self.progress,
        )

    @cached_property
    def key(self) -> dict[str, Any]:
        """What the findings depend on, as values for JSON."""
        drawn = self.drawn
        return {
            "objective": self.objective.describe(),
            "fingerprint": watched_fingerprint(self.objective),
            "noise": self.objective.seed,
            "data": {name: _digest(samples) for name, samples in self.sets.items()},
            "drawn": _digest(drawn.samples if drawn else None),
            "control": _digest(drawn.control if drawn else None),
            "limit": self.limit,
            "seed": self.seed,
            "criteria": CRITERIA,
        }


def _digest(samples: Samples | None) -> str | None:
    if samples is None:
        return None
    digest = hashlib.sha256()
    update(digest, samples.values)
    return digest.hexdigest()[:16]
