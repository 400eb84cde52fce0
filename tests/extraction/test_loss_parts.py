"""Parts of the losses beside the norms: those of a loop, of each sample alone, and resumed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.statistics.test_dose import Conjugate
from torch import nn

import fimetric as fm
from fimetric.extraction import parts as kept
from fimetric.extraction.extractor import Extractor
from fimetric.objectives import NegativeELBO, Objective

N = 23
X = 2 * torch.randn(N, 2, generator=torch.Generator().manual_seed(0)).double()
FREE = ("cross-entropy", "entropy", "rate", "distortion")


def objective():
    return NegativeELBO(Conjugate(), draws=2)


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize(("parts", "names"), [("free", FREE), ("costly", (*FREE, "iwae"))])
def test_they_are_those_of_single_samples(parts, names, group_size):
    found = fm.extract(objective(), X, 6, group_size, progress=False, parts=parts)
    assert found.part_names == names
    assert found.parts.dtype == np.float64
    whole = N // group_size * group_size
    for i in range(whole):
        alone = objective().parts(X[i : i + 1], costly=parts == "costly")
        expected = [alone[name].item() for name in names]
        np.testing.assert_allclose(found.parts[i], expected, rtol=1e-12)
    rate, distortion = (found.part_names.index(name) for name in ("rate", "distortion"))
    np.testing.assert_allclose(
        found.parts[:, rate] + found.parts[:, distortion], found.losses.mean(1), rtol=1e-12
    )


def test_norms_and_losses_do_not_change_by_them():
    plain = fm.extract(objective(), X, 6, progress=False, parts=None)
    found = fm.extract(objective(), X, 6, progress=False, parts="costly")
    assert plain.part_names == () and plain.parts.shape == (N, 0)
    for name in ("values", "losses", "bounds"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    assert found.fingerprint == plain.fingerprint


def test_an_objective_without_parts_gives_none():
    model = nn.Linear(2, 2).double()
    plain = Objective(lambda x: (model(x) - x).square().sum(1), model)
    assert fm.extract(plain, X, progress=False, parts="costly").parts.shape == (N, 0)


@pytest.mark.parametrize("parts", ["all", True, "", 1])
def test_other_parts_than_these_are_refused(parts):
    with pytest.raises(ValueError, match="parts must be None, 'free' or 'costly', not"):
        fm.extract(objective(), X, progress=False, parts=parts)


def test_texts_of_many_lengths_come_back_in_their_order(letters):
    class Costs(type(letters)):
        def _parts(self, batch, costly):
            return {"length": self.dimensions(batch).double(), "loss": self.losses("", batch)}

    data = [["ab", "abcdefgh", "x"], ["hello", "z" * 20, "yes", "no"], ["abc"] * 3]
    data = [text for batch in data for text in batch]
    objective = Costs(letters.module)
    found = fm.extract(objective, data, 4, progress=False, parts="free")
    np.testing.assert_array_equal(found.parts[:, 0], found.dimensions)
    np.testing.assert_allclose(found.parts[:, 1], found.losses[:, 0], rtol=1e-9)


def test_pictures_have_the_same_parts_whatever_else_is_in_their_batch():
    model = nn.Linear(16, 1).double()
    plain = Objective(lambda x: model(x.flatten(1))[:, 0], model)
    levels = torch.randint(256, (9, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    x = levels.double() / 255
    expected = fm.extract(plain, x, 3, progress=False, parts="free")
    x[3:7] += 1.5  # no pictures of values in [0, 1]: of the second and the third batch of three
    for size in (1, 3, 9):
        found = fm.extract(plain, x, size, progress=False, parts="free")
        assert found.part_names == expected.part_names
        assert "code/png" in found.part_names and np.isnan(found.parts[3:7]).all()
        for rows in (slice(0, 3), slice(7, 9)):
            np.testing.assert_array_equal(found.parts[rows], expected.parts[rows])


class Told(NegativeELBO):
    """What a test says of a batch."""

    tell = staticmethod(lambda x: x[:, 0])

    def _parts(self, batch, costly):
        return {"rate": batch[:, 1], "told": self.tell(batch)}


@pytest.mark.parametrize(
    "tell", [lambda x: x[:, 0] - x[:, 0].mean(), lambda x: torch.rand(len(x)).double()]
)
def test_parts_that_change_with_the_batch_are_refused(tell):
    other = Told(Conjugate())
    other.tell = tell
    with pytest.raises(RuntimeError, match="'told' of a sample changes with the rest of its batch"):
        fm.extract(other, X, 6, progress=False, parts="free")
    fm.extract(other, X, 6, progress=False, parts=None)  # nobody asks for them


@pytest.mark.parametrize(("steepness", "refused"), [(1e13, False), (1e3, True)])
def test_what_rounding_of_the_data_moves_is_no_dependence_on_the_batch(steepness, refused):
    other = Told(Conjugate())
    other.tell = lambda x: (steepness * x[:, 0] + 3e-3 * (len(x) > 1)).sin()
    if refused:
        with pytest.raises(RuntimeError, match="'told' of a sample changes"):
            fm.extract(other, X, 6, progress=False, parts="free")
    else:
        fm.extract(other, X, 6, progress=False, parts="free")


def test_parts_that_are_not_finite_are_kept_and_alike_alone():
    other = Told(Conjugate())
    other.tell = lambda x: torch.where(x[:, 0] > 0, x[:, 0], torch.nan)
    found = fm.extract(other, X, 6, progress=False, parts="free")
    np.testing.assert_array_equal(np.isnan(found.parts[:, 1]), X[:, 0] <= 0)


# Resuming


def stopping(after):
    yield from X[: after * 4].split(4)
    raise KeyboardInterrupt


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return the folder of an extraction with free parts that was stopped."""
    monkeypatch.setattr(kept, "PART_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        fm.extract(objective(), stopping(3), 4, folder=tmp_path / "f", parts="free", progress=False)
    return tmp_path / "f"


def test_a_stopped_extraction_goes_on(folder):
    found = fm.extract(objective(), X, 4, folder=folder, parts="free", progress=False)
    expected = fm.extract(objective(), X, 4, parts="free", progress=False)
    np.testing.assert_array_equal(found.parts, expected.parts)
    assert found.part_names == FREE
    again = fm.extract(objective(), X, 4, folder=folder, parts="free", progress=False)
    np.testing.assert_array_equal(again.parts, expected.parts)


REFUSED = {
    None: "made from parts of the loss that are not asked for: cross-entropy, entropy, rate",
    "costly": "made from other parts of the loss: cross-entropy.* not .*distortion, iwae",
}


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("parts", REFUSED)
def test_other_parts_are_not_mixed_up(folder, whole, parts):
    if whole:
        fm.extract(objective(), X, 4, folder=folder, parts="free", progress=False)
    with pytest.raises(ValueError, match=REFUSED[parts]):
        fm.extract(objective(), X, 4, folder=folder, parts=parts, progress=False)
    fm.extract(objective(), X, 4, folder=folder, parts="free", progress=False)  # nothing is lost


def test_a_table_without_parts_is_no_beginning_of_one_with(tmp_path):
    table = fm.extract(objective(), X, 4, folder=tmp_path / "f", parts=None, progress=False)
    with pytest.raises(ValueError, match=r"other parts of the loss: none, not cross-entropy"):
        fm.extract(objective(), X, 4, folder=tmp_path / "f", progress=False)
    unknown = replace(table, probe=None)
    difference = Extractor(objective(), parts="free").difference
    assert difference(unknown) == "losses alone, without their parts"
    assert "rate" in difference(table)
    assert Extractor(objective()).difference(table) == ""
