"""Fixtures that several files share."""

import pytest


@pytest.fixture
def folder(monkeypatch, tmp_path):
    """Return an empty folder of what outlives a process."""
    monkeypatch.setenv("FIMETRIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
