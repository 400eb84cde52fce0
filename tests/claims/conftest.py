"""Fixtures of the tests of claims on layer-wise norms."""

import importlib

import numpy as np
import pytest
from given import MODULES, Known


@pytest.fixture
def known(make_features):
    """Return a maker of studies from name -> (log norms (N, K), losses (N,) or None)."""

    def make(**sets):
        tables = {}
        for name, (values, losses) in sets.items():
            n, J = values.shape
            losses = np.zeros(n) if losses is None else losses
            tables[name] = make_features(
                N=n,
                J=J,
                values=values,
                losses=losses[:, None],
                views=["loss"],
                bounds=np.zeros(J),
                numels=np.full(J, 7),
            )
        return Known(tables)

    return make


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the pictures out, which take longer than the rest."""
    for module in map(importlib.import_module, MODULES):
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            monkeypatch.setattr(module, name, lambda *_: None)
