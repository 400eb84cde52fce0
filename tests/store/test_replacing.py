"""What is replaced is what was written by us, and nothing else is lost."""

import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.data import arrays
from fimetric.detection.fitting import fit_into
from fimetric.objectives import Objective
from fimetric.store.folders import new_folder

X = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))


def detector() -> fm.Detector:
    model = nn.Linear(3, 3)
    return fm.Detector(Objective(lambda x: (model(x) - x).square().sum(1), model))


WRITERS = {
    "a detector": lambda folder: detector().fit(X).save(folder, overwrite=True),
    "features": lambda folder: fm.extract(detector().objective, X, progress=False).save(
        folder, True
    ),
    "a model": lambda folder: fm.models.save(
        fm.models.build("vae", "tiny", (1, 4, 4)), folder, True
    ),
    "a fit": lambda folder: fit_into(detector(), X, folder, overwrite=True),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_folder_of_other_files_is_never_replaced(tmp_path, what):
    write, folder = WRITERS[what], tmp_path / "f"
    write(folder)
    write(folder)  # its own kind is
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match=r"f holds notes.txt, which is nothing that may be"):
        write(folder)
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(b"x")
    with pytest.raises(FileExistsError, match=r"pictures holds a.png"):
        write(pictures)
    assert [p.name for p in pictures.iterdir()] == ["a.png"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "pictures"]


def test_results_are_not_written_into_the_data(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(ValueError, match=r"lies in the data .*; name a folder outside"):
        new_folder(tmp_path / "in" / "out", "digits", str(tmp_path / "in"))
    assert new_folder(tmp_path / "out", "digits", str(tmp_path / "in")) == tmp_path / "out"


def test_an_archive_that_unpacks_hugely_is_not_unpacked(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(arrays, "MOST_UNPACKED", 1 << 16)
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1000, 100)))
    with pytest.raises(ValueError, match=r"bomb.npz: x.npy unpacks to"):
        fm.data.load(tmp_path / "bomb.npz")
    np.savez_compressed(tmp_path / "fine.npz", x=np.random.default_rng(0).random((1000, 100)))
    assert len(fm.data.load(tmp_path / "fine.npz")) == 1000
