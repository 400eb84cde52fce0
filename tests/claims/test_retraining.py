"""Data are shown as they should be, models are trained on them, ranks are judged by the rule."""

import functools
import math

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from fimetric.claims import retraining
from fimetric.claims.retraining import NORMS, Retrained, compare, retrain
from fimetric.claims.ways import IN_X, LIKELIHOOD, SCORES, TYPICALITY, Way, ways
from fimetric.data import Samples
from fimetric.extraction import extract
from fimetric.fisher.rankings import mean_correlation
from fimetric.fisher.representations import HSV, ChannelAffine, Logit, YCbCr, dequantised
from fimetric.metrics import auroc
from fimetric.models import build
from fimetric.objectives import standard_objective
from fimetric.training import loop

SHAPE = (3, 4, 4)


@pytest.fixture(scope="module", autouse=True)
def short_bootstrap():
    with pytest.MonkeyPatch.context() as patch:
        short = functools.partial(mean_correlation, repeats=5)
        patch.setattr(retraining, "mean_correlation", short)
        yield


CONFIG = {"steps": 1, "levels": 1, "hidden": 4}


def images(name: str, n: int = 30, seed: int = 0, high: int = 256) -> Samples:
    g = torch.Generator().manual_seed(seed)
    return Samples(torch.randint(high, (n, *SHAPE), generator=g, dtype=torch.uint8), name=name)


def by_name(shape=SHAPE, kind: str = "glow") -> dict[str, Way]:
    return {way.name: way for way in ways(shape, kind)}


def test_ways_have_seeds_of_their_own_and_two_are_plain():
    colour = ways(SHAPE, "glow")
    assert [way.name for way in colour] == [
        "RGB",
        "RGB, other seed",
        "YCbCr",
        "HSV",
        "logit",
        "inverted",
    ]
    assert [way.seed for way in colour] == list(range(6))
    assert [way.plain for way in colour] == [True, True, False, False, False, False]
    assert [way.inside for way in colour] == [False] * 4 + [True, False]
    assert list(by_name((1, 4, 4))) == ["plain", "plain, other seed", "logit", "inverted"]
    assert list(by_name((1, 4, 4), "vae")) == ["plain", "plain, other seed", "inverted"]


@pytest.mark.parametrize("name", ["RGB", "YCbCr", "HSV", "logit", "inverted"])
def test_data_are_shown_by_the_same_noise_in_every_way(name, monkeypatch):
    monkeypatch.setattr("fimetric.claims.ways.CHUNK", 7)
    samples = images("a")
    generator = torch.Generator().manual_seed(5)
    x = torch.cat([dequantised(part, 256, generator) for part in samples.tensor().split(7)])
    shown, log_det = by_name()[name].show(samples, seed=5)
    transform = {"YCbCr": YCbCr(), "HSV": HSV(0.0), "logit": Logit(0.05)}.get(name)
    transform = transform or ChannelAffine(*((-1.0, 1.0) if name == "inverted" else (1.0,)))
    expected = x if name == "logit" else transform(x).y
    torch.testing.assert_close(shown.values, expected.float())
    np.testing.assert_allclose(log_det, transform(x).log_det.numpy(), rtol=1e-12)
    assert shown.ids == samples.ids and 0 <= shown.values.min() <= shown.values.max() <= 1


@pytest.mark.parametrize("name", ["HSV", "logit"])
def test_likelihoods_in_both_units_and_densities_fitted_on_the_first_half(name, tmp_path):
    way, own, other = by_name()[name], images("own"), images("other", 9, 1, 100)
    config = {**CONFIG, "logit": 0.05 if name == "logit" else 0.0}
    model = build("glow", config, SHAPE, way.seed).eval()
    found = way.scores(model, own, {"other": other}, tmp_path, noise=3)
    assert list(found) == list(SCORES)
    assert {len(v["own"]) for v in found.values()} == {15}
    assert {len(v["other"]) for v in found.values()} == {9}
    shown, log_det = way.show(own, 4)
    table = extract(standard_objective(model), shown, progress=False)
    change = log_det[15:] / (48 * math.log(2))
    bits = table.bits_per_dim[15:]
    here, there = (bits + change, bits) if way.inside else (bits, bits - change)
    np.testing.assert_allclose(found[LIKELIHOOD]["own"], here, rtol=1e-5)
    np.testing.assert_allclose(found[IN_X]["own"], there, rtol=1e-5)
    typical = abs(table.losses[15:, 0] - table.losses[:15, 0].mean())
    np.testing.assert_allclose(found[TYPICALITY]["own"], typical, rtol=1e-3, atol=1e-3)


def test_one_density_in_two_representations_has_one_likelihood_in_units_of_x(tmp_path):
    """The identity in front of the flow, and the same model told that x - 1/2 is an inversion."""
    own, other = images("own"), images("other", 9, 1)
    model = build("glow", {**CONFIG, "logit": 0.05}, SHAPE).eval()
    inside = Way("logit", Logit(0.05), 0, inside=True)
    plain = Way("plain", ChannelAffine(1.0), 0)
    a = inside.scores(model, own, {"other": other}, tmp_path / "a", 0)
    b = plain.scores(model, own, {"other": other}, tmp_path / "b", 0)
    for name in ("own", "other"):
        assert np.array_equal(a[IN_X][name], b[IN_X][name])
        assert np.array_equal(a[NORMS][name], b[NORMS][name])  # gradients do not know of T
        assert not np.allclose(a[LIKELIHOOD][name], b[LIKELIHOOD][name], atol=0.1)


@pytest.fixture(scope="module")
def arguments():
    return {
        "data": images("train", 40, 2),
        "own": images("own", 24, 3),
        "foreign": {"dark": images("dark", 12, 4, 60)},
        "kind": "glow",
        "config": CONFIG,
        "steps": 2,
        "limit": 10,
        "progress": False,
    }


@pytest.fixture(scope="module")
def run(arguments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("retrained")
    return retrain(folder=folder, **arguments), folder


def test_models_are_trained_each_in_its_folder_and_compared(run):
    finding, folder = run
    assert finding.verdict in ("holds", "holds in part", "does not hold")
    assert (folder / "rank-correlations.png").exists()
    for name in ("RGB", "RGB-other-seed", "YCbCr", "HSV", "logit", "inverted"):
        assert (folder / name / "model" / "model.safetensors").exists()
    summary, plain, likelihoods, norms, aurocs = finding.tables
    assert [row[0] for row in summary.rows] == list(SCORES)
    assert [row[0] for row in aurocs.rows] == [row[0] for row in plain.rows] == list(by_name())
    for table in (likelihoods, norms):
        assert [row[i] for i, row in enumerate(table.rows, 1)] == ["1.000"] * 6


def test_called_again_it_goes_on_and_trains_nothing(run, arguments, monkeypatch):
    finding, folder = run

    def never(*arguments):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(loop, "_step", never)
    assert retrain(folder=folder, **arguments) == finding


def test_a_logit_that_is_asked_for_by_name_of_configuration(tmp_path):
    way = by_name()["logit"]
    data = images("train", 40)
    model, _ = way.train(data, tmp_path, "glow", "tiny", 0, steps=1, progress=False)
    assert model.config.logit == 0.05 and model.config.steps == 4


def test_other_kinds_of_model(tmp_path):
    way, data = by_name(kind="vae")["HSV"], images("train", 40)
    config = {"channels": (4,), "latent": 2}
    model, history = way.train(data, tmp_path, "vae", config, 0, steps=1, progress=False)
    assert model.config.latent == 2 and math.isfinite(history.best)


def synthetic(agree: float, agree_likelihood: float, seed: int = 0) -> list[Retrained]:
    """Models whose scores share a part; two seeds of the plain one share more."""
    random = np.random.default_rng(seed)
    shared = random.normal(size=(2, 400))
    found = []
    for way in ways(SHAPE, "glow"):
        parts = {score: agree_likelihood if score == LIKELIHOOD else agree for score in SCORES}
        scores = {}
        for score, part in parts.items():
            part = 0.9 if way.plain else part
            values = part * shared[int(score == LIKELIHOOD)] + math.sqrt(
                1 - part**2
            ) * random.normal(size=400)
            scores[score] = {"own": values[:300], "dark": values[300:] + 1}
        found.append(Retrained(way, 3.0, scores))
    return found


@pytest.mark.parametrize(
    ("norms", "likelihood", "verdict"),
    [
        (0.89, 0.5, "holds"),
        (0.89, 0.99, "holds in part"),
        (0.6, 0.3, "holds in part"),
        (0.5, 0.9, "does not hold"),
    ],
)
def test_the_verdict_is_that_of_the_criterion(norms, likelihood, verdict, tmp_path):
    assert compare(synthetic(norms, likelihood), "own", tmp_path).verdict == verdict


def test_numbers_are_means_over_pairs_of_different_representations(tmp_path):
    found = synthetic(0.8, 0.5)
    finding = compare(found, "own", tmp_path)
    stacked = [np.concatenate([*each.scores[NORMS].values()]) for each in found]
    each = spearmanr(np.array(stacked), axis=1).statistic
    pairs = [(i, j) for i in range(6) for j in range(i) if (i, j) != (1, 0)]
    between = np.mean([each[i, j] for i, j in pairs])
    numbers = finding.numbers
    assert numbers["layerwise-gaussian: between representations"] == pytest.approx(between)
    assert numbers["layerwise-gaussian: two seeds"] == pytest.approx(each[0, 1])
    mine = spearmanr([found[0].scores[NORMS]["own"], found[1].scores[NORMS]["own"]], axis=1)
    assert numbers["layerwise-gaussian: two seeds, own alone"] == pytest.approx(mine.statistic)
    plain = finding.tables[1].rows
    assert plain[0][2] == plain[1][2] == f"{each[0, 1]:.3f}"
    assert plain[3][2] == f"{(each[0, 3] + each[1, 3]) / 2:.3f}"
    row = finding.tables[4].rows[2]
    scores = found[2].scores[LIKELIHOOD]
    assert row[:4] == ["YCbCr", "3.000", "dark", f"{auroc(scores['own'], scores['dark']):.3f}"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"foreign": {}}, "at least one foreign set"),
        ({"foreign": {"own": images("own")}}, "cannot be foreign too"),
        ({"own": images("own", 3)}, "own has 3 samples; half of them must fit"),
        (
            {"own": Samples(torch.zeros(9, 1, 4, 4, dtype=torch.uint8))},
            r"held-out data has samples of shape \(1, 4, 4\)",
        ),
        ({"data": Samples(torch.rand(9, *SHAPE))}, "8-bit images"),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(
    arguments, tmp_path, monkeypatch, changes, message
):
    monkeypatch.setattr(retraining, "ways", None)
    with pytest.raises(ValueError, match=message):
        retrain(folder=tmp_path, **{**arguments, **changes})
