"""The hub is asked only for what could be on it, once, and never for what is on this machine."""

import socket
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fimetric.data import hub, load
from fimetric.data.hub import UnreachableError


@pytest.fixture
def no_network(monkeypatch):
    """Have every attempt to reach another machine fail, and be counted."""
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return asked


def test_local_data_make_no_call(no_network, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    pq.write_table(pa.table({"image": [(tmp_path / "a.png").read_bytes()]}), tmp_path / "a.parquet")
    for name in ("a.png", "a.npy", "a.parquet"):
        load(tmp_path / name)
    load("digits")
    assert no_network == []


@pytest.mark.parametrize("name", ["./set", "../set", "/no/set", "a/b/c", "set.png", "my set"])
def test_what_is_no_name_of_the_hub_is_not_asked_for(name, no_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no"):
        load(name)
    assert no_network == []


def test_a_misspelt_name_without_network_ends_at_once(no_network, tmp_path, monkeypatch):
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("FIMETRIC_DATA", str(tmp_path))
    (tmp_path / "fashion_mnist").mkdir()
    start = time.monotonic()
    with pytest.raises(UnreachableError, match=r"no path.*there is fashion_mnist.*reached"):
        load("fashon_mnist")
    assert time.monotonic() - start < 2
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE  # as before


def raised(error: Exception, monkeypatch) -> Exception:
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("datasets.load_dataset", fail)
    monkeypatch.setattr(hub, "_answers", lambda: True)
    with pytest.raises((OSError, ValueError)) as caught:
        load("owner/name")
    return caught.value


def test_gated_missing_and_unreachable_are_told_apart(monkeypatch):
    from datasets.exceptions import DatasetNotFoundError
    from huggingface_hub.utils import GatedRepoError

    gated = DatasetNotFoundError("a gated dataset")
    gated.__cause__ = GatedRepoError.__new__(GatedRepoError)
    for error, kind, words in (
        (gated, PermissionError, "gated; accept its conditions"),
        (DatasetNotFoundError("no such set"), FileNotFoundError, "the hub does not have it"),
        (ConnectionError("no route"), UnreachableError, "cannot be reached"),
        (TimeoutError("slow"), UnreachableError, "cannot be reached"),
        (ValueError("Unknown split"), ValueError, "has no split 'test'"),
        (RuntimeError("scripts are no longer supported"), ValueError, "cannot be read"),
    ):
        found = raised(error, monkeypatch)
        assert type(found) is kind and words in str(found)
        assert isinstance(found, FileNotFoundError) == (
            kind in (FileNotFoundError, UnreachableError)
        )
