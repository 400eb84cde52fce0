import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from fimetric.data import Samples, load
from fimetric.detectors import create
from fimetric.evaluation import run as evaluation
from fimetric.evaluation.run import evaluate
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.stream import run
from fimetric.judging.splits import quarters
from fimetric.models import build
from fimetric.objectives import standard_objective

DENSITIES = ("layerwise-gaussian", "typicality")


@pytest.fixture(scope="module", autouse=True)
def short_bootstrap():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fimetric.judging.judge.REPEATS", 50)
        yield


@pytest.fixture(scope="module")
def objective():
    return standard_objective(build("vae", "tiny", (1, 8, 8)).eval())


@pytest.fixture(scope="module")
def sets():
    return load("digits", limit=80), {"letters": load("letters", limit=40)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="module")
def found(objective, sets, folder):
    return evaluate(objective, *sets, (1, 4), DENSITIES, folder)


def test_auroc_equals_that_of_its_scores_by_another_way(found):
    for row in found.rows:
        scores = found.scores[row.group_size][row.detector]
        own, other = scores["digits"], scores[row.ood]
        u = mannwhitneyu(other, own).statistic
        assert row.auroc.value == pytest.approx(u / (len(own) * len(other)))
        assert row.auroc.low <= row.auroc.value <= row.auroc.high


def test_scores_are_those_of_a_density_fitted_on_the_first_quarter(found, objective, sets):
    own, _ = sets
    order = np.random.default_rng(0).permutation(80).tolist()
    extractor = Extractor(objective, 1)
    table = run(extractor, own.select(order), 64)
    density = create("layerwise-gaussian").fit(table.select(slice(0, 20)))
    mine = density.score(table.select(slice(40, None)))
    np.testing.assert_allclose(found.scores[1]["layerwise-gaussian"]["digits"], mine, rtol=1e-6)
    bits = table.select(slice(40, None)).bits_per_dim
    np.testing.assert_allclose(found.losses["digits"], bits, rtol=1e-6)


def test_test_rows_do_not_touch_the_fit(found, objective, sets):
    """Changing every in-distribution test sample leaves the scores of the OOD set as they were."""
    own, ood = sets
    values = own.values.clone()
    test = np.random.default_rng(0).permutation(80)[40:]
    values[test] = 255 - values[test]
    other = evaluate(objective, Samples(values, own.ids, "digits"), ood, (1, 4), DENSITIES)
    for size, detectors in found.scores.items():
        for detector, scores in detectors.items():
            again = other.scores[size][detector]
            np.testing.assert_allclose(again["letters"], scores["letters"], rtol=1e-3, atol=1e-3)
            assert not np.allclose(again["digits"], scores["digits"], rtol=1e-2)


def test_groups_of_both_features_and_of_the_loss(found):
    assert list(found.scores[1]) == ["layerwise-gaussian", "typicality"]
    assert sorted(found.scores[4]) == [
        "layerwise-gaussian",
        "layerwise-gaussian (mean)",
        "typicality",
    ]
    assert len(found.scores[4]["typicality"]["digits"]) == 10
    assert len(found.scores[4]["typicality"]["letters"]) == 10
    assert len(found.losses["digits"]) == 40
    assert found.alarms[1]["typicality"][1] == 40
    assert found.alarms[4] == {}  # 5 calibration groups cannot resolve 0.05


def test_kept_features_are_used_without_running_the_model(
    found, objective, sets, folder, monkeypatch
):
    def never(self, batch):
        raise AssertionError("the model was run again")

    monkeypatch.setattr(Extractor, "__call__", never)
    again = evaluate(objective, *sets, (4, 1), DENSITIES, folder)
    assert again.rows == found.rows


def test_other_data_under_the_same_name_are_refused(found, objective, sets, folder):
    _, ood = sets
    with pytest.raises(ValueError, match="choose another folder"):
        evaluate(objective, load("digits", limit=64), ood, (1, 4), DENSITIES, folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ood": {}}, "at least one OOD set"),
        ({"densities": ()}, "at least one OOD set"),
        ({"group_sizes": ()}, "at least one OOD set"),
        ({"densities": ("none",)}, "no density 'none'"),
        ({"group_sizes": (0,)}, "at least 1, not 0"),
        ({"group_sizes": (11,)}, "7 in-distribution groups are too few"),
        ({"ood": {"digits": load("letters", limit=9)}}, "cannot be an OOD set too"),
        ({"ood": {"few": load("letters", limit=3)}, "group_sizes": (4,)}, "few has 3 samples"),
    ],
)
def test_what_cannot_work_is_refused_before_the_work(
    objective, sets, tmp_path, monkeypatch, changes, message
):
    monkeypatch.setattr(evaluation, "extract", None)
    arguments = {"in_distribution": sets[0], "ood": sets[1], "densities": DENSITIES, **changes}
    with pytest.raises(ValueError, match=message):
        evaluate(objective, folder=tmp_path / "features", **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("groups", [8, 9, 11, 100, 601])
def test_split_covers_all_groups_once(groups):
    parts = [np.arange(groups)[part] for part in quarters(groups)]
    assert np.array_equal(np.concatenate(parts), np.arange(groups))
    assert len(parts[0]) == len(parts[1]) == groups // 4


def test_names_with_slashes_are_one_folder(objective, tmp_path):
    own, other = load("digits", limit=16), load("letters", limit=8)
    other = Samples(other.values, other.ids, "someone/letters")
    evaluate(objective, own, {other.name: other}, (1,), ("likelihood",), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "digits-groups-of-1",
        "someone-letters-groups-of-1",
    ]
