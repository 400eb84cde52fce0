"""Scores of one method: against fitting and scoring by hand, and resampling that can be undone."""

from dataclasses import replace

import numpy as np
import pytest

from fimetric.benchmark.comparing import interval
from fimetric.benchmark.methods import METHODS, Method
from fimetric.benchmark.scoring import score, scored
from fimetric.benchmark.tables import table_key
from fimetric.calibration import Calibration
from fimetric.detectors import FullGaussian, LayerwiseGaussian, NearestNeighbours
from fimetric.features.groups import disjoint, means, overlapping
from fimetric.metrics import auroc

PAPER = Method("norms", LayerwiseGaussian, "", joint=True)
FULL = Method("norms", FullGaussian, "")


@pytest.fixture
def tables(make_features):
    sizes = {"fit": 60, "calibration": 50, "test": 40, "far": 45}
    found = {n: make_features(N=size, J=6, seed=i) for i, (n, size) in enumerate(sizes.items())}
    values = found["far"].values + 0.8
    found["far"] = type(found["far"])(**{**vars(found["far"]), "values": values})
    return found


def test_single_samples_are_fitted_scored_and_calibrated(tables):
    found = score(PAPER, tables, 1, "random", seed=3)
    density = LayerwiseGaussian().fit(tables["fit"])
    order = np.random.default_rng(3).permutation(40)
    np.testing.assert_allclose(found.scores["test"], density.score(tables["test"])[order])
    assert set(found.scores) == {"test", "far"} and set(found.areas) == {"far"}
    calibration = Calibration(density.score(tables["calibration"]))
    assert found.alarms == calibration.reject(density.score(tables["test"]), 0.05).sum()


def test_groups_are_means_and_the_fit_is_on_overlapping_ones(tables):
    found = score(FULL, tables, 5, "consecutive", seed=3)
    rows = overlapping(60, 5, 60, 3)
    fit = tables["fit"].select(rows.ravel()).grouped(5)
    expected = FullGaussian().fit(fit).score(tables["test"].grouped(5))
    np.testing.assert_allclose(found.scores["test"], expected)
    assert found.scores["far"].shape == (9,)
    assert found.alarms == -1  # ten calibration groups know no level of 0.05


def test_joint_gradients_are_taken_as_they_are(tables, make_features):
    joint = {n: make_features(N=12, J=6, group_size=5, seed=i) for i, n in enumerate(tables)}
    found = score(PAPER, joint, 5, "random", seed=3)
    expected = LayerwiseGaussian().fit(joint["fit"]).score(joint["test"])
    np.testing.assert_allclose(found.scores["test"], expected)


def test_resamples_scatter_about_the_area(tables):
    for size in (1, 5):
        found = score(FULL, tables, size, "random", seed=0)
        area = auroc(found.scores["test"], found.scores["far"])
        areas = found.areas["far"]
        assert areas.std() > 0.01
        assert abs(areas.mean() - area) < 3 * areas.std()


def test_resampled_groups_of_one_sample_are_resampled_samples(tables):
    """A set whose rows are all alike gives the same area however it is resampled."""
    alike = {n: t.select(np.zeros(len(t), dtype=int)) for n, t in tables.items() if n != "fit"}
    found = score(FULL, {**alike, "fit": tables["fit"]}, 5, "random", seed=0)
    assert set(found.areas["far"]) == {auroc(found.scores["test"], found.scores["far"])}


def test_all_methods_resample_the_same_own_samples(tables):
    """Two methods that rank alike have the same areas, so their difference is zero."""
    doubled = {name: replace(table, losses=2 * table.losses) for name, table in tables.items()}
    one = score(METHODS["likelihood"], tables, 1, "random", seed=0)
    other = score(METHODS["likelihood"], doubled, 1, "random", seed=0)
    assert (one.scores["far"] != other.scores["far"]).any()
    np.testing.assert_array_equal(one.areas["far"], other.areas["far"])
    different = score(METHODS["typicality"], tables, 1, "random", seed=0)
    assert (different.areas["far"] != one.areas["far"]).any()


def test_the_area_of_groups_is_the_mean_over_partitions(tables):
    found = score(FULL, tables, 5, "random", seed=0)
    rows = overlapping(60, 5, 60, 0)
    density = FullGaussian().fit(means(tables["fit"], rows))
    areas = [
        auroc(
            density.score(means(tables["test"], disjoint(40, 5, 2 * r))),
            density.score(means(tables["far"], disjoint(45, 5, 1 + 2 * r))),
        )
        for r in range(50)
    ]
    assert found.values["far"] == pytest.approx(np.mean(areas), abs=1e-12)
    assert np.std(areas) > 0


def test_looks_are_resampled_with_the_images_they_are_made_of(tables):
    """A look that is the image itself has an area of a half in every resample of singles."""
    found = score(FULL, {**tables, "rotated": tables["test"]}, 1, "random", seed=0)
    np.testing.assert_allclose(found.areas["rotated"], 0.5)
    other = {**tables, "strange": tables["test"]}
    assert score(FULL, other, 1, "random", seed=0).areas["strange"].std() > 0.01


def test_rows_that_a_table_was_made_with_are_not_fitted_on(tables):
    method = Method("whitened gradient", LayerwiseGaussian, "", skipped=20)
    found = score(method, tables, 1, "consecutive", seed=0)
    expected = LayerwiseGaussian().fit(tables["fit"].select(slice(20, None)))
    np.testing.assert_allclose(found.scores["far"], expected.score(tables["far"]))


def test_scores_are_kept_by_what_they_are_made_of(tables, tmp_path):
    place = tmp_path / "likelihood-1"
    first = scored("likelihood", tables, 1, "random", 0, place, "key")
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    again = scored("likelihood", tables, 1, "random", 0, place, "key")
    assert file.stat().st_mtime_ns == before
    np.testing.assert_array_equal(first.scores["far"], again.scores["far"])
    np.testing.assert_array_equal(first.areas["far"], again.areas["far"])
    assert first.alarms == again.alarms
    for other in [("typicality", 0, "key"), ("likelihood", 1, "key"), ("likelihood", 0, "new")]:
        scored(other[0], tables, 1, "random", other[1], place, other[2])
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_file_is_computed_again(tables, tmp_path):
    place = tmp_path / "likelihood-1"
    first = scored("likelihood", tables, 1, "random", 0, place, "key")
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:50])
    again = scored("likelihood", tables, 1, "random", 0, place, "key")
    np.testing.assert_array_equal(first.scores["far"], again.scores["far"])


def test_an_interval_holds_its_area_and_is_widened_at_the_ceiling():
    narrow = interval(0.9, np.full(100, 0.9), 50, 50)
    assert narrow == (0.9, 0.9, 0.9)
    low = interval(1.0, np.ones(100), 25, 25).low
    assert 0.9 < low < 0.93
    assert interval(0.7, np.linspace(0.75, 0.8, 100), 50, 50).low == 0.7


def test_length_does_not_decide_among_random_groups(make_features):
    """Losses and norms rise with the length; foreign rows are long, and like own ones else."""
    random = np.random.default_rng(0)

    def rows(n, low, high, seed):
        lengths = np.exp(random.uniform(np.log(low), np.log(high), n)).astype(int)
        table = make_features(N=n, J=4, V=1, seed=seed)
        values = table.values + 2 * np.log(lengths)[:, None]
        per_token = 3 + 0.1 * random.normal(size=n) / np.sqrt(lengths)
        losses = (lengths * per_token)[:, None]
        return replace(table, values=values, losses=losses, dimensions=lengths)

    tables = {n: rows(300, 20, 200, i) for i, n in enumerate(("fit", "calibration", "test"))}
    tables["far"] = rows(300, 100, 200, 9)
    found = score(Method("norms", NearestNeighbours, ""), tables, 5, "random", seed=0)
    assert abs(found.values["far"] - 0.5) < 0.2
    raw = NearestNeighbours().fit(means(tables["fit"], overlapping(300, 5, 300, 0)))
    groups = [means(tables[n], disjoint(300, 5, 0)) for n in ("test", "far")]
    assert auroc(*map(raw.score, groups)) > 0.8  # it would


def test_scores_are_kept_by_all_that_a_table_holds(make_features):
    parts = np.zeros((40, 2))
    changes = [
        {},
        {"bounds": np.full(5, 1e-11)},
        {"dimensions": 13},
        {"numels": np.arange(2, 7) * 10},
        {"parts": parts, "part_names": ["ab", "c"]},
        {"parts": parts, "part_names": ["a", "bc"]},
        {"names": [f"layer{j}.bias" for j in range(5)]},
    ]
    assert len({table_key({"test": make_features(**fields)}) for fields in changes}) == len(changes)
    assert table_key({"test": make_features()}) == table_key({"test": make_features()})
