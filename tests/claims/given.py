"""Studies whose features are given, and what every finding must keep."""

import json
from dataclasses import dataclass, field

import numpy as np
import torch

from fimetric.data import Samples

N, K = 200, 24
MODULES = [f"fimetric.claims.{name}" for name in ("chi_square", "correlation", "norms")]
RANK = f"{MODULES[0]}.effective_rank"


@dataclass
class Known:
    """A study whose features are given."""

    tables: dict
    own: Samples = field(default_factory=lambda: Samples(torch.zeros(N, 1), name="own"))
    drawn: None = None
    objective: None = None
    seed: int = 0
    batch_size: int = 8
    progress: bool = False

    @property
    def sets(self):
        return {name: Samples(torch.zeros(len(f), 1), name=name) for name, f in self.tables.items()}

    @property
    def foreign(self):
        return {name: samples for name, samples in self.sets.items() if name != "own"}

    def features(self, name):
        return self.tables[name]

    def drawn_features(self):
        return None


def independent(seed=0, n=N, freedom=None):
    random = np.random.default_rng(seed)
    if freedom is None:
        return random.normal(size=(n, K))
    return np.log(random.chisquare(freedom, size=(n, K)))


def whole(finding, folder):
    """Check that all of a finding is there and can be kept."""
    for picture in finding.pictures:
        assert (folder / picture.file).stat().st_size > 8_000
    assert {p.name for p in folder.iterdir()} == {p.file for p in finding.pictures}
    for table in finding.tables:
        assert all(len(row) == len(table.headings) for row in table.rows)
    path = folder / "finding.json"
    finding.write(path, {})
    json.loads(path.read_text())
    assert all(isinstance(value, float) for value in finding.numbers.values())
