"""Fixtures that several folders of tests share."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from fimetric.features.table import Features

os.environ["FIMETRIC_CACHE"] = ""  # no test knows what another process has learnt
os.environ["FIMETRIC_COSTS"] = "fixed"  # nor do bits depend on how busy the machine is


@pytest.fixture
def make_features() -> Callable[..., Features]:
    """Return a maker of tables: correlated log norms of J layers on different scales."""

    def make(
        N: int = 40, J: int = 5, V: int = 2, group_size: int = 1, seed: int = 0, **fields: Any
    ):
        random = np.random.default_rng(seed)
        shared, own = random.normal(size=(N, 1)), random.normal(size=(N, J))
        values = np.linspace(-9, 3, J) + np.linspace(0.3, 1.5, J) * (0.7 * shared + own)
        table = {
            "values": values,
            "names": [f"layer{j}.weight" for j in range(J)],
            "losses": 100 + random.normal(size=(N * group_size, V)),
            "views": [f"t={v}" for v in range(V)],
            "ids": [f"image{i}" for i in range(N * group_size)],
            "bounds": np.full(J, 1e-12),
            "numels": np.arange(1, J + 1) * 10,
            "dimensions": 12,
            "objective": "Denoising(t=0)",
            "fingerprint": "00ff",
            "seed": 7,
            "group_size": group_size,
        }
        return Features(**{**table, **fields})

    return make


@pytest.fixture(autouse=True)
def _same_random_numbers_in_any_order():
    """Tests run in any order on any worker; each draws the same numbers nevertheless."""
    torch.manual_seed(0)
    np.random.seed(0)
