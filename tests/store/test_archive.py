"""Archives: what was written comes back, or the file at fault is named."""

import random

import msgspec
import numpy as np
import pytest
import safetensors.numpy

from fimetric.store import archive
from fimetric.store.archive import Kind


class Thing(msgspec.Struct, forbid_unknown_fields=True):
    size: int
    names: tuple[str, ...]
    share: float = 0.5


KIND = Kind("thing", 3, Thing, "make it again")
ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "empty": np.zeros((0, 2)), "b": np.array(7)}


@pytest.fixture
def folder(tmp_path):
    KIND.write(tmp_path, Thing(3, ("é", "b\n")), archive.pack(ARRAYS))
    return tmp_path


def read(folder):
    content, payload = KIND.read(folder)
    return content, archive.unpack(payload, folder / "thing.safetensors", KIND.again)


def test_what_was_written_comes_back(folder):
    content, arrays = read(folder)
    assert content == Thing(3, ("é", "b\n"), 0.5)
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype


def test_an_archive_may_have_no_arrays(tmp_path):
    KIND.write(tmp_path, Thing(1, ()))
    assert KIND.read(tmp_path) == (Thing(1, ()), None)


def test_a_sealed_file_is_an_ordinary_safetensors_file(folder):
    arrays = safetensors.numpy.load_file(folder / "thing.safetensors")
    assert np.array_equal(arrays["a"], ARRAYS["a"])


@pytest.mark.parametrize("name", ["thing.json", "thing.safetensors"])
def test_every_flipped_bit_is_told_or_says_nothing(folder, name):
    path, picked = folder / name, random.Random(0)
    whole = path.read_bytes()
    for _ in range(150):
        place, bit = picked.randrange(len(whole)), picked.randrange(8)
        changed = bytearray(whole)
        changed[place] ^= 1 << bit
        path.write_bytes(bytes(changed))
        try:
            content, arrays = read(folder)
        except ValueError as error:
            said = str(error)
        else:  # white space between values
            said = f"{name} make it again"
            assert content == Thing(3, ("é", "b\n"), 0.5)
            assert np.array_equal(arrays["a"], ARRAYS["a"])
        assert name in said
        assert "make it again" in said


def test_a_value_edited_by_hand_is_told(folder):
    path = folder / "thing.json"
    path.write_text(path.read_text().replace('"size": 3', '"size": 4'))
    with pytest.raises(ValueError, match=r"thing.json is damaged .its checksum"):
        KIND.read(folder)


def test_another_version_is_told_with_what_to_do(folder):
    with pytest.raises(ValueError, match=r"is of version 3.* reads version 4.* make it again"):
        Kind("thing", 4, Thing, "make it again").read(folder)


def test_arrays_of_another_archive_are_told(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    KIND.write(other, Thing(3, ("é", "b\n")), archive.pack({**ARRAYS, "b": np.array(8)}))
    (folder / "thing.safetensors").write_bytes((other / "thing.safetensors").read_bytes())
    with pytest.raises(ValueError, match=r"not the one in thing.json"):
        KIND.read(folder)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[]",
        b'{"version": 3}',
        b'{"version": 3, "kind": [], "sha256": "", "arrays": null, "content": {}}',
        b"[" * 100_000,
        b'{"version":' * 100_000,
        b'{"version": 1e999}',
        b'{"version": NaN}',
        b"\xff\xfe",
        b'{"version": 3, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_archive_is_named(tmp_path, text):
    (tmp_path / "thing.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"thing.json is"):
        KIND.read(tmp_path)


def test_a_type_that_is_not_the_structs_does_not_get_through(tmp_path):
    class Loose(msgspec.Struct):
        size: object
        names: tuple[str, ...]
        share: float

    for size in ("3", 3.5, None, [3]):
        Kind("thing", 3, Loose, "").write(tmp_path, Loose(size, (), 1.0))
        with pytest.raises(ValueError, match=r"thing.json is damaged .Expected `int`"):
            KIND.read(tmp_path)


def test_a_file_without_a_seal_is_taken_only_where_asked(tmp_path):
    payload = archive.pack(ARRAYS)
    with pytest.raises(ValueError, match=r"w.safetensors is damaged .it has no checksum.; train"):
        archive.unseal(payload, tmp_path / "w.safetensors", "train again")
    assert archive.unseal(payload, tmp_path / "w", "", allow_unsealed=True) == payload


@pytest.mark.parametrize("payload", [b"", b"\x08", b"\xff" * 20, b"\x02" + b"\0" * 7 + b"[]"])
def test_what_is_no_safetensors_file_is_named(tmp_path, payload):
    with pytest.raises(ValueError, match="w is damaged"):
        archive.unseal(payload, tmp_path / "w", "train again", allow_unsealed=True)


def test_a_file_larger_than_the_limit_is_not_read(folder, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST_JSON", 10)
    with pytest.raises(ValueError, match="more than"):
        KIND.read(folder)


def test_other_metadata_stay_and_are_sealed_too(tmp_path):
    content = safetensors.numpy.save({"a": np.arange(3.0)}, {"seed": "7", "model": "glow"})
    sealed = archive.seal(content)
    assert archive.unseal(sealed, tmp_path / "w", "") == sealed
    with pytest.raises(ValueError, match="w is damaged"):
        archive.unseal(sealed.replace(b'"seed":"7"', b'"seed":"8"'), tmp_path / "w", "")
