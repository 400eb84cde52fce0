"""The detector: one object from data to decisions, and the folder it is kept in."""

import json
import logging

import numpy as np
import pytest
import torch
from torch import nn

from fimetric import Detector, extract
from fimetric.detection.saved import KIND
from fimetric.detectors import DEFAULT, OF_ANY_TABLE, NotExplainableError, create
from fimetric.features.groups import overlapping
from fimetric.objectives import Objective
from sealed import reseal

D = 6


def data(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed))


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, D))


def reconstruction(model: nn.Module, seed: int = 0) -> Objective:
    """Return a loss that overflows where the first entry is some thousands."""
    return Objective(
        lambda x: (model(x) - x).square().sum(1) + torch.exp(model(x)[:, 0] + x[:, 0] - 40),
        model,
        seed,
    )


ID, MORE, STRANGE = data(400, 0), data(40, 1), data(1, 2).index_fill(1, torch.tensor([0]), 4e3)


@pytest.fixture
def objective() -> Objective:
    return reconstruction(network())


@pytest.fixture
def detector(objective) -> Detector:
    return Detector(objective).fit(ID)


@pytest.mark.parametrize("name", OF_ANY_TABLE)
@pytest.mark.parametrize("group_size", [1, 5])
def test_shapes_and_direction(objective, group_size, name):
    detector = Detector(objective, create(name), group_size)
    assert detector.fit(ID) is detector
    same, other = detector.score(MORE), detector.score(6 * MORE)
    assert same.shape == other.shape == (40 // group_size,) and same.dtype == np.float64
    assert np.median(other) > same.max()  # higher = more anomalous
    p = detector.p_value(6 * MORE)
    np.testing.assert_array_equal(p, detector.calibration.p_value(other))
    assert p.shape == other.shape and np.median(p) == detector.calibration.smallest_p
    rejected = detector.predict(6 * MORE, alpha=0.1)
    assert rejected.dtype == np.bool_ and rejected.shape == p.shape
    np.testing.assert_array_equal(rejected, p <= 0.1)
    try:
        shares = detector.explain(MORE)
    except NotExplainableError:
        assert name not in ("layerwise-gaussian", "full-gaussian", "fishers-method", "kde")
    else:
        assert shares.shape == (40 // group_size, 4)
        np.testing.assert_allclose(shares.sum(1), same, rtol=1e-10)  # float64 sums


def test_scores_are_those_of_the_density_on_extracted_features(objective, detector):
    features = extract(objective, MORE)
    np.testing.assert_array_equal(detector.score(features), detector.score(MORE))
    np.testing.assert_array_equal(detector.density.score(features), detector.score(MORE))
    again = Detector(objective).fit(extract(objective, ID))
    np.testing.assert_array_equal(again.score(MORE), detector.score(MORE))
    np.testing.assert_array_equal(again.calibration.scores, detector.calibration.scores)


def test_half_of_the_groups_each_by_the_seed(objective, detector):
    features = extract(objective, ID)
    order = np.random.default_rng(0).permutation(400)
    expected = detector.density.score(features.select(order[200:]))
    np.testing.assert_array_equal(detector.calibration.scores, np.sort(expected))
    np.testing.assert_array_equal(detector.density.mean_[:4], features.values[order[:200]].mean(0))
    other = Detector(objective, seed=1).fit(ID)
    assert not np.array_equal(other.score(MORE), detector.score(MORE))


def test_explicit_calibration_data(objective):
    detector = Detector(objective).fit(ID, calibration=MORE)
    everything = extract(objective, ID)
    np.testing.assert_array_equal(detector.density.mean_[:4], everything.values.mean(0))
    expected = np.sort(detector.score(MORE))
    np.testing.assert_array_equal(detector.calibration.scores, expected)
    same = Detector(objective).fit(everything, calibration=extract(objective, MORE))
    np.testing.assert_array_equal(same.calibration.scores, expected)


def test_recalibrate_keeps_the_density(detector):
    before, mean = detector.score(MORE), detector.density.mean_.copy()
    fresh = data(99, 5)
    assert detector.recalibrate(fresh) is detector
    np.testing.assert_array_equal(detector.density.mean_, mean)
    np.testing.assert_array_equal(detector.score(MORE), before)
    np.testing.assert_array_equal(detector.calibration.scores, np.sort(detector.score(fresh)))


STREAMS = {
    "tensor": lambda: ID[:7],
    "generator": lambda: (part for part in ID[:7].split(3)),
    "generator of many": lambda: (part for part in ID[:67].split(30)),  # the rest in batch 2
    "list": lambda: [ID[:4], ID[4:7]],
    "less than a group": lambda: iter([ID[:3]]),
}


@pytest.mark.parametrize("kind", STREAMS)
def test_samples_that_make_no_whole_groups_are_refused(objective, kind):
    detector = Detector(objective, group_size=5).fit(ID)
    for verb in (detector.score, detector.p_value, detector.predict, detector.explain):
        with pytest.raises(ValueError, match=r"do not make whole groups of 5; leave out [23]"):
            verb(STREAMS[kind]())


def test_data_of_unknown_length_that_do_make_whole_groups(objective):
    detector = Detector(objective, group_size=5).fit(ID)
    found = detector.score(part for part in ID[:70].split(3))
    np.testing.assert_array_equal(found, detector.score(ID[:70]))


def test_fit_cuts_what_is_left_over(objective, caplog):
    Detector(objective, group_size=7).fit(ID)
    assert "the last 1 of 400 samples make no whole group of 7" in caplog.text


@pytest.mark.parametrize("group_size", [1, 5])
def test_too_few_groups(objective, group_size):
    Detector(objective, group_size=group_size).fit(ID[: 4 * group_size])
    with pytest.raises(ValueError, match=r"3 groups of .* too few .* 4 is the least"):
        Detector(objective, group_size=group_size).fit(ID[: 3 * group_size])


def test_alpha_below_the_smallest_possible_p_is_refused_before_the_work(objective):
    detector = Detector(objective).fit(ID[:38])
    detector.predict(MORE, alpha=0.05)  # 19 calibration scores, p = 1/20 at least
    with pytest.raises(ValueError, match=r"smallest possible p-value 1/\(n \+ 1\) = 0.05 of n=19"):
        detector.predict("never looked at", alpha=0.049)


def test_confidence_makes_the_threshold_stricter(detector):
    plain = detector.predict(ID, alpha=0.1)
    np.testing.assert_array_equal(plain, detector.p_value(ID) <= 0.1)
    strict = detector.predict(ID, alpha=0.1, confidence=0.95)
    assert 0 < strict.sum() < plain.sum() and not (strict & ~plain).any()


def test_before_fit(objective):
    detector = Detector(objective)
    for verb in (detector.p_value, detector.predict, detector.recalibrate, detector.score):
        with pytest.raises(RuntimeError, match="call fit first"):
            verb(MORE)
    with pytest.raises(ValueError, match="group_size must be at least 1, not 0"):
        Detector(objective, group_size=0)


def test_fit_that_fails_leaves_no_old_calibration(detector):
    with pytest.raises(ValueError, match="too few"):
        detector.fit(ID[:3])
    with pytest.raises(RuntimeError, match="call fit first"):
        detector.p_value(MORE)


def test_model_changed_after_fit_is_refused(objective, detector, tmp_path):
    before = extract(objective, MORE)
    with torch.no_grad():
        objective.module[2].bias[3] += 1e-6
    for batch in (MORE, before, extract(objective, MORE)):
        for verb in (detector.score, detector.explain, detector.recalibrate):
            with pytest.raises(ValueError, match="model has changed since the detector was fitted"):
                verb(batch)
    detector.save(tmp_path / "d")  # it is still the detector of the old model
    with pytest.raises(
        ValueError, match=r"fitted with another model .its fingerprint differs: other weights"
    ):
        Detector.load(tmp_path / "d", objective)
    assert detector.fit(ID).score(MORE).shape == (40,)  # fitting again is what helps


def test_training_flags_do_not_count_as_a_change(objective, detector):
    expected = detector.score(MORE)
    objective.module.eval()
    np.testing.assert_array_equal(detector.score(MORE), expected)


def test_features_of_another_origin_are_refused(objective, detector):
    class Other(Objective):
        pass

    model = objective.module
    for features, what in {
        extract(objective, ID, group_size=5): "group size: 5, not 1",
        extract(
            reconstruction(network(1)), ID
        ): r"model \(its fingerprint differs: other weights or buffers\)",
        extract(reconstruction(model, seed=1), ID): "seed: 1, not 0",
        extract(Other(objective.function, model), ID): "objective: Other",
    }.items():
        for verb in (detector.score, detector.recalibrate, Detector(objective).fit):
            with pytest.raises(ValueError, match=f"come from another {what}"):
                verb(features)
        with pytest.raises(ValueError, match=f"come from another {what}"):
            Detector(objective).fit(ID, calibration=features)


@pytest.mark.parametrize("group_size", [1, 5])
def test_sample_on_which_the_model_breaks_down_is_an_alarm(objective, group_size, caplog):
    detector = Detector(objective, group_size=group_size).fit(ID)
    expected = detector.score(MORE)
    batch = {"x": MORE.clone(), "id": [f"s{i}" for i in range(40)]}
    batch["x"][7] = STRANGE[0]
    with caplog.at_level(logging.WARNING, logger="fimetric.detectors"):
        scores = detector.score(batch)
    row = 7 // group_size
    assert scores[row] == np.inf
    assert "scored as +inf" in caplog.text and "'s7'" in caplog.text
    assert "layer '0.weight'" in caplog.text
    p = detector.p_value(batch)
    assert p[row] == 1 / (len(detector.calibration) + 1)
    assert detector.predict(batch)[row]
    assert detector.explain(batch)[row].sum() == np.inf
    others = np.arange(40 // group_size) != row
    # float32: the strange sample's batch goes through the graph in another way
    np.testing.assert_allclose(scores[others], expected[others], rtol=1e-4)


@pytest.mark.parametrize("place", range(0, 16, 3))  # whichever half it falls into
def test_sample_on_which_the_model_breaks_down_is_refused_in_fit(objective, place):
    spoiled = ID[:16].clone()
    spoiled[place] = STRANGE[0]
    with pytest.raises(ValueError, match=rf"cannot fit on sample '{place}', layer '0.weight'"):
        Detector(objective).fit(spoiled)
    with pytest.raises(ValueError, match=rf"cannot fit on sample '{place}', layer '0.weight'"):
        Detector(objective).fit(ID, calibration=spoiled)


def test_input_that_is_not_finite_raises(detector):
    for value in (torch.nan, torch.inf):
        batch = MORE.clone()
        batch[3, 3] = value
        with pytest.raises(ValueError, match=r"sample 3 .* NaN or infinite"):
            detector.score(batch)
        with pytest.raises(ValueError, match=r"sample 3 .* NaN or infinite"):
            detector.fit(batch)


@pytest.mark.parametrize("name", OF_ANY_TABLE)
@pytest.mark.parametrize("group_size", [1, 5])
def test_saved_and_loaded_it_is_the_same_to_the_bit(objective, tmp_path, group_size, name):
    detector = Detector(objective, create(name), np.int64(group_size), np.int64(3)).fit(ID)
    detector.save(tmp_path / "a" / "d")
    files = sorted(path.name for path in (tmp_path / "a" / "d").iterdir())
    assert files == ["detector.json", "detector.safetensors"]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["d"]
    loaded = Detector.load(tmp_path / "a" / "d", reconstruction(network()))
    assert (loaded.group_size, loaded.seed) == (group_size, 3)
    np.testing.assert_array_equal(loaded.score(MORE), detector.score(MORE))
    np.testing.assert_array_equal(loaded.p_value(MORE), detector.p_value(MORE))
    loaded.save(tmp_path / "again")
    for file in files:
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "a/d" / file).read_bytes()


def test_save_refuses_an_existing_folder(detector, objective, tmp_path):
    detector.save(tmp_path / "d")
    expected = detector.score(MORE)
    detector.recalibrate(MORE)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        detector.save(tmp_path / "d")
    assert len(Detector.load(tmp_path / "d", objective).calibration) == 200
    detector.save(tmp_path / "d", overwrite=True)
    loaded = Detector.load(tmp_path / "d", objective)
    assert len(loaded.calibration) == 40
    np.testing.assert_array_equal(loaded.score(MORE), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


@pytest.mark.parametrize("exists", [True, False])
def test_save_that_fails_leaves_what_was_there(detector, objective, tmp_path, monkeypatch, exists):
    if exists:
        detector.save(tmp_path / "d")

    def full(path, content):
        path.touch()
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match="disk full"):
        detector.save(tmp_path / "d", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == (["d"] if exists else [])
    if exists:
        Detector.load(tmp_path / "d", objective)


def test_save_before_fit(objective, tmp_path):
    with pytest.raises(RuntimeError, match="call fit first"):
        Detector(objective).save(tmp_path / "d")
    assert not list(tmp_path.iterdir())


def test_load_refuses_another_model_objective_or_seed(detector, objective, tmp_path):
    class Other(Objective):
        pass

    detector.save(tmp_path / "d")
    for other, what in {
        reconstruction(network(1)): "model .its fingerprint differs: other weights",
        reconstruction(objective.module, seed=1): "seed: 0, not 1",
        Other(objective.function, objective.module): "objective: .*, not Other",
    }.items():
        with pytest.raises(ValueError, match=rf"d was fitted with another {what}"):
            Detector.load(tmp_path / "d", other)


def change(folder, **fields) -> None:
    path = folder / "detector.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def cut(path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def flip(path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


CORRUPT = "is damaged .*fit and save the detector again"
DAMAGE = {
    "no folder": (lambda d: d.rename(d.with_name("e")), "detector.json is missing"),
    "no json": (lambda d: (d / "detector.json").unlink(), "detector.json is missing"),
    "no arrays": (lambda d: (d / "detector.safetensors").unlink(), CORRUPT),
    "cut json": (lambda d: cut(d / "detector.json"), CORRUPT),
    "binary json": (lambda d: (d / "detector.json").write_bytes(b"\xff\xfe\x00"), CORRUPT),
    "other json": (lambda d: (d / "detector.json").write_text("[1]"), CORRUPT),
    "cut arrays": (lambda d: cut(d / "detector.safetensors"), CORRUPT),
    "flipped bit": (lambda d: flip(d / "detector.safetensors"), CORRUPT),
    "empty arrays": (lambda d: (d / "detector.safetensors").write_bytes(b""), CORRUPT),
    "version": (lambda d: change(d, version=99), "of version 99, this fimetric reads version 3"),
    "no version": (lambda d: change(d, version=None), "of version None"),
    "edited by hand": (lambda d: change(d, sha256="0"), CORRUPT),
    "no seed": (lambda d: reseal(d, KIND, seed=None), CORRUPT),
    "no density": (lambda d: reseal(d, KIND, density=None), CORRUPT),
    "half a density": (lambda d: reseal(d, KIND, density={"density": "typicality"}), CORRUPT),
    "density of the wrong type": (lambda d: reseal(d, KIND, density=[3]), CORRUPT),
    "unknown density": (
        lambda d: reseal(d, KIND, density={"density": "magic"}),
        "no density 'magic'",
    ),
    "group size of the wrong type": (lambda d: reseal(d, KIND, group_size="x"), CORRUPT),
    "group size below one": (lambda d: reseal(d, KIND, group_size=0), CORRUPT),
    "a probe of astronomical size": (
        lambda d: reseal(
            d,
            KIND,
            probe={
                "entries": [{"key": "", "shape": [10**12], "kind": "float64", "low": 0, "high": 1}],
                "losses": [[1.0]],
                "tolerance": 1e-5,
            },
        ),
        "no rows of shape",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_load_says_what_is_wrong_with_a_folder(detector, objective, tmp_path, damage):
    detector.save(tmp_path / "d")
    spoil, message = DAMAGE[damage]
    spoil(tmp_path / "d")
    kind = FileNotFoundError if "is missing" in message else ValueError
    with pytest.raises(kind, match=message):
        Detector.load(tmp_path / "d", objective)


def test_groups_are_means_of_log_norms_and_the_papers_are_joint(objective):
    mean, joint = (
        Detector(objective, group_size=5),
        Detector(objective, create("layerwise-gaussian"), 5),
    )
    single, together = extract(objective, ID), extract(objective, ID, group_size=5)
    np.testing.assert_array_equal(mean.features(ID).values, single.grouped(5).values)
    np.testing.assert_array_equal(joint.features(ID).values, together.values)


def test_the_density_of_groups_is_fitted_on_the_samples_regrouped(objective):
    detector = Detector(objective, group_size=5).fit(ID)
    order = np.random.default_rng(0).permutation(80)
    samples = (order[:40, None] * 5 + np.arange(5)).ravel()
    part = extract(objective, ID).select(samples)
    assert detector.density.rows_.shape == (200, 5)  # as many as there are samples, not groups
    rows = overlapping(200, 5, 200, 0)
    fitted = create(DEFAULT).fit(part.select(rows.ravel()).grouped(5))
    np.testing.assert_array_equal(detector.density.rows_, fitted.rows_)
    held_out = extract(objective, ID).grouped(5).select(order[40:])
    np.testing.assert_array_equal(
        detector.calibration.scores, np.sort(detector.density.score(held_out))
    )


def test_tables_of_samples_and_of_groups_are_taken(objective):
    detector = Detector(objective, group_size=5).fit(extract(objective, ID))
    single = extract(objective, MORE)
    np.testing.assert_array_equal(detector.score(single), detector.score(MORE))
    np.testing.assert_array_equal(detector.score(single.grouped(5)), detector.score(MORE))
    with pytest.raises(ValueError, match="7 samples do not make whole groups of 5; leave out 2"):
        detector.score(single.select(slice(7)))
    with pytest.raises(ValueError, match="another group size: 2, not 5"):
        detector.score(single.grouped(2))


def test_a_detector_that_is_fitted_again_on_another_loss_has_its_norms():
    model, x = nn.Linear(8, 8), torch.randn(100, 8)
    first, second = (
        Objective(lambda x: (model(x) - x).square().sum(1), model),
        Objective(lambda x: (model(x) - x).abs().sum(1), model),
    )
    detector = Detector(first).fit(x)
    detector.objective = second
    again = detector.fit(x).features(x).values
    assert np.array_equal(again, Detector(second).fit(x).features(x).values)
    assert not np.allclose(again, Detector(first).fit(x).features(x).values)


@pytest.mark.parametrize("group_size", [1, 4])
def test_calibration_samples_are_not_those_of_the_density(group_size):
    model = nn.Linear(5, 5).double()
    x = torch.randn(80, 5, generator=torch.Generator().manual_seed(0)).double()
    detector = Detector(
        Objective(lambda x: (model(x) - x).square().sum(1), model), group_size=group_size
    )
    for own, other in ((x, x), (x, x.clone()), (x, extract(detector.objective, x, progress=False))):
        with pytest.raises(
            ValueError, match=r"80 of 80 calibration samples are samples of the de.*'0'"
        ):
            detector.fit(own, calibration=other)
    detector.fit(x[:40], calibration=x[40:])  # called alike, and others
    named = [{"x": row, "id": f"{i}"} for i, row in enumerate(x)]
    with pytest.raises(ValueError, match="60 of 60 calibration samples are samples of the density"):
        detector.fit(named, calibration=named[:60][::-1])
    detector.fit(named[:40], calibration=named[20:])  # some are


def test_samples_of_one_kind_are_no_samples_of_the_density():
    model = nn.Linear(5, 5).double()
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(600, 5, generator=drawn).double()
    x[torch.rand(600, generator=drawn) < 0.97] = 1.0
    Detector(objective).fit(x[:300], calibration=x[300:])
    far = Objective(lambda x: (model(x) - x).square().sum(1) + 1e7, model)
    x = torch.randn(160, 5, generator=drawn).double()
    Detector(far).fit(x[:80], calibration=x[80:])
