"""A density that reads parts of the losses, in a detector: they are there wherever it extracts."""

import numpy as np
import pytest
import torch
from tests.statistics.test_dose import Conjugate
from typer.testing import CliRunner

import fimetric as fm
from fimetric import detectors
from fimetric.detection.fitting import fit_into
from fimetric.detection.scoring import write_scores
from fimetric.detectors import Density
from fimetric.objectives import NegativeELBO, Objective

OWN = torch.randn(120, 2, generator=torch.Generator().manual_seed(0)).double()
NEW = 3 * torch.randn(12, 2, generator=torch.Generator().manual_seed(1)).double()


class Entropies(Density):
    """How far the rate of a row is from the mean of own ones; a part it lacks is an error."""

    name = "entropies"
    parts = "free"
    column = "rate"

    def fit(self, features):
        self.mean_ = float(self._of(features).mean())
        return self

    def score(self, features):
        return np.abs(self._of(features) - self.mean_)

    def _of(self, features):
        return features.group_parts[:, features.part_names.index(self.column)]


class Bounds(Entropies):
    name, parts, column = "bounds", "costly", "iwae"


class JointEntropies(Entropies):
    name, joint = "joint-entropies", True


KINDS = [Entropies, Bounds, JointEntropies]


@pytest.fixture(autouse=True)
def _known(monkeypatch):
    for kind in KINDS:
        monkeypatch.setitem(detectors.DENSITIES, kind.name, kind)


def objective():
    return NegativeELBO(Conjugate())


def by_hand(kind, detector, x, group_size):
    found = objective().parts(x, costly=True)[kind.column].view(-1, group_size).mean(1)
    return np.abs(found.numpy() - detector.density.mean_)


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_fit_score_calibrate_and_stream(kind, group_size):
    detector = fm.Detector(objective(), kind(), group_size).fit(OWN)
    expected = by_hand(kind, detector, NEW, group_size)
    np.testing.assert_allclose(detector.score(NEW), expected, rtol=1e-12)
    detector.recalibrate(OWN)
    rows = [detector.judge.scores(table) for _, table in detector.stream(NEW, 3)]
    np.testing.assert_allclose(np.concatenate(rows), expected, rtol=1e-12)
    assert (detector.p_value(NEW) > 0).all()


def test_a_density_that_reads_none_gets_none():
    reading = {density for density in detectors.DENSITIES.values() if density.parts}
    assert reading - set(KINDS) == {detectors.BalancedNeighbours, detectors.EValues}
    assert fm.Detector(objective()).fit(OWN).features(NEW).part_names
    assert fm.Detector(objective(), "likelihood").fit(OWN).features(NEW).part_names == ()


def test_tables_must_have_what_the_density_reads():
    free = fm.extract(objective(), OWN, parts="free", progress=False)
    costly = fm.extract(objective(), OWN, parts="costly", progress=False)
    plain = fm.extract(objective(), OWN, parts=None, progress=False)
    fitted = fm.Detector(objective(), Entropies()).fit(free)
    expected = by_hand(Entropies, fitted, NEW, 1)
    new = fm.extract(objective(), NEW, parts="free", progress=False)
    np.testing.assert_allclose(fitted.score(new), expected, rtol=1e-12)
    for kind, other, parts in (
        (Entropies, plain, "free"),
        (Bounds, plain, "costly"),
        (Bounds, free, "costly"),
    ):
        wrong = rf"other parts of the loss.*extract them again .* with parts='{parts}'"
        with pytest.raises(ValueError, match=wrong):
            fm.Detector(objective(), kind()).fit(other)
        with pytest.raises(ValueError, match=wrong):
            fm.Detector(objective(), kind(), 2).fit(other.grouped(2))
    again = fm.Detector(objective(), Entropies()).fit(costly)  # what it does not read is left out
    np.testing.assert_allclose(again.score(new), expected, rtol=1e-12)
    fm.Detector(objective(), "likelihood").fit(costly)  # one that reads none takes any
    fm.Detector(objective(), "likelihood", group_size=2).fit(costly.grouped(2))


def test_saved_opened_and_scored_into_a_file(tmp_path):
    detector = fit_into(fm.Detector(objective(), Bounds()), OWN, tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", objective())
    np.testing.assert_allclose(again.score(NEW), by_hand(Bounds, detector, NEW, 1), rtol=1e-12)
    write_scores(again, NEW, tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text().splitlines()[1:]
    scores = [float(line.split(",")[1]) for line in lines]
    np.testing.assert_allclose(scores, again.score(NEW), rtol=1e-12)


def test_another_density_in_the_same_detector_gets_its_own_parts():
    detector = fm.Detector(objective(), Entropies()).fit(OWN)
    assert "iwae" not in detector.features(NEW).part_names
    detector.density = Bounds()
    assert "iwae" in detector.features(NEW).part_names


def test_on_the_command_line(tmp_path):
    from fimetric.cli import app
    from fimetric.models import build, folder

    model = build("vae", "tiny", (1, 8, 8)).eval()
    folder.save(model, tmp_path / "model")
    pictures = torch.randint(256, (80, 1, 8, 8), dtype=torch.uint8).numpy()
    np.save(tmp_path / "own.npy", pictures)
    run = CliRunner().invoke
    told = run(
        app,
        [
            "fit",
            str(tmp_path / "model"),
            "--data",
            str(tmp_path / "own.npy"),
            "--density",
            "entropies",
            "--out",
            str(tmp_path / "d"),
        ],
    )
    assert told.exit_code == 0, told.output
    told = run(
        app,
        [
            "score",
            str(tmp_path / "d"),
            "--data",
            str(tmp_path / "own.npy"),
            "--out",
            str(tmp_path / "s.csv"),
        ],
    )
    assert told.exit_code == 0, told.output
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 81


def test_gradients_of_a_stopped_fit_are_kept_where_another_density_is_refused(tmp_path):
    kept = tmp_path / "d.parts" / "features"
    fm.extract(objective(), OWN, folder=kept, progress=False)
    with pytest.raises(ValueError, match="holds features made from norms, not losses alone"):
        fit_into(fm.Detector(objective(), "cheap"), OWN, tmp_path / "d")
    assert kept.exists()
    fit_into(fm.Detector(objective()), OWN, tmp_path / "d")
    assert not kept.exists()
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit_into(fm.Detector(objective()), OWN / 0, tmp_path / "e")
    assert not (tmp_path / "e.parts").exists()


def test_a_named_loss_that_takes_no_made_up_rows_is_fitted_on_a_table(tmp_path):
    model = torch.nn.Linear(4, 4).double()

    def losses(x):
        if not ((x[:, 0] == 1) | (x[:, 0] == 2)).all():
            raise ValueError("the first column is a class")
        return (model(x) - x).square().sum(1)

    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(2)).double()
    x[:, 0] = torch.arange(60) % 2 + 1
    named = Objective(losses, model, name="by class")
    table = fm.extract(named, x, progress=False)
    assert table.probe is None and table.part_names == ()
    for density in ("default", "cheap"):
        of_table = fm.Detector(named, density).fit(table)
        np.testing.assert_array_equal(
            of_table.score(x), fm.Detector(named, density).fit(x).score(x)
        )
    fit_into(fm.Detector(named), x, tmp_path / "d")


def test_a_named_loss_of_pictures_has_their_codes():
    model = torch.nn.Linear(64, 64).double()

    def losses(x):
        if (x.flatten(1)[:, 0] > 0).any():
            raise ValueError("the first pixel is black")
        return (model(x.flatten(1)) - x.flatten(1)).square().sum(1)

    x = torch.randint(256, (40, 1, 8, 8), generator=torch.Generator().manual_seed(4)).double() / 255
    x[:, :, 0, 0] = 0
    named = Objective(losses, model, name="black corner")
    fm.Detector(named).fit(fm.extract(named, x, progress=False))
    plain = fm.extract(named, x, progress=False, parts=None)
    with pytest.raises(ValueError, match="losses alone, without their parts"):
        fm.Detector(named).fit(plain)


def test_a_detector_with_code_lengths_of_another_library_is_refused(tmp_path, monkeypatch):
    model = torch.nn.Linear(64, 8).double()
    codes = Objective(lambda x: model(x.flatten(1)).square().sum(1), model)
    x = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(4)).double()
    fm.Detector(codes).fit(x).save(tmp_path / "codes")
    fm.Detector(codes, "nearest-neighbours").fit(x).save(tmp_path / "none")
    table = fm.extract(codes, x, progress=False)
    monkeypatch.setattr("fimetric.data.codes.png_length", lambda image: 7)
    for what in (
        lambda: fm.Detector.load(tmp_path / "codes", codes),
        lambda: fm.Detector(codes).fit(table),
    ):
        with pytest.raises(ValueError, match=r"code/png took \d+ bytes and now takes 7"):
            what()
    fm.Detector.load(tmp_path / "none", codes).score(x)


@pytest.mark.parametrize("wrong", ["no", None, 0])
def test_gradient_is_yes_or_no(wrong):
    with pytest.raises(TypeError, match="gradient must be True or False, not"):
        fm.extract(objective(), OWN, progress=False, gradient=wrong)


def test_presets_are_functions_to_be_called():
    with pytest.raises(TypeError, match=r"the function cheap; pass what it returns, cheap\(\)"):
        fm.Detector(objective(), detectors.cheap)
    with pytest.raises(TypeError, match="density must be a name or a density, not"):
        fm.Detector(objective(), np.ones(2))


def test_a_model_without_parameters_is_refused():
    empty = Objective(lambda x: x.square().sum(1), torch.nn.Identity())
    with pytest.raises(ValueError, match="Identity has no parameters"):
        fm.Detector(empty, "cheap").fit(OWN)
