"""The page on all modalities: its grids, where a signal is said to lie, and what is committed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from fimetric.benchmark.comparing import Found
from fimetric.benchmark.config import read
from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.results import Comparison
from fimetric.benchmark.views import last_blocks, losses_alone, norm_layers
from fimetric.data import Samples
from fimetric.detection.judge import Judge
from fimetric.detectors import NearestNeighbours, default
from fimetric.metrics import auroc
from fimetric.models import build
from studies import modules

ROOT = Path(__file__).parents[1]
PLACE = ROOT / "docs" / "results" / "modalities"
GRIDS = sorted(path.stem for path in PLACE.glob("*.toml"))


@pytest.fixture
def study():
    with modules("modalities") as found:
        yield found


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_is_whole_and_asks_for_groups_of_one_and_five(name, study):
    grid = read(PLACE / f"{name}.toml")
    assert grid.group_sizes == (1, 5)
    studies = study("studies")
    assert set(studies.COMMON) - set(grid.methods) <= set(studies.PAPER) - set(grid.methods)
    assert set(studies.PAPER) & set(grid.methods)
    for own in grid.sets:
        for trained in own.models:  # none that the page names is silently left out
            fitting = [m for m in grid.methods if METHODS[m].fits(trained.family)]
            assert fitting == list(grid.methods) or name == "images"


@pytest.fixture
def tables(make_features):
    """Return own and foreign rows: the loss of the foreign ones is higher, one layer is lower."""
    own = make_features(N=300, J=6, V=1)
    rows = np.split(np.arange(300), 3)
    tables = {n: own.select(r) for n, r in zip(("fit", "calibration", "test"), rows, strict=True)}
    foreign = make_features(N=100, J=6, V=1, seed=1)
    values = foreign.values.copy()
    values[:, 2] -= 6
    tables["foreign"] = replace(foreign, values=values, losses=foreign.losses + 2)
    told = np.random.default_rng(2).normal(size=(100, 2))
    part_names = ("rate", "code/zlib")
    return {n: replace(t, parts=told + t.losses, part_names=part_names) for n, t in tables.items()}


def test_the_account_of_a_pair_says_where_its_signal_lies(study, tables):
    found = study("columns").account(tables, "foreign")
    test, foreign = tables["test"].losses[:, 0], tables["foreign"].losses[:, 0]
    assert found.ladder["mean loss, one-sided"] == pytest.approx(auroc(test, foreign))
    mean = tables["fit"].losses.mean()
    assert found.ladder["two-sided"] == pytest.approx(auroc(abs(test - mean), abs(foreign - mean)))
    for step, seen in (("default", tables), ("without norms", _without_norms(tables))):
        density = default().fit(seen["fit"])
        whole = [density.score(seen[name]) for name in ("test", "foreign")]
        assert found.ladder[step] == pytest.approx(auroc(*whole))
    assert found.raw == found.ladder["default"] != found.ladder["without norms"]
    assert found.best == "layer2.weight" and found.best_area > 0.99
    assert found.loss_shift == pytest.approx(2, abs=0.5) and found.risen < 1
    assert found.length == 0.5 and found.outside == 0  # all rows have one length
    assert found.within == found.ladder["default"]
    fit, test, foreign = (tables[name].values for name in ("fit", "test", "foreign"))
    shift = (foreign.mean(0) - test.mean(0)) / fit.std(0)
    assert found.norm_shift == pytest.approx(np.median(shift))
    assert found.risen == pytest.approx((shift > 0).mean())


def _without_norms(tables):
    return {name: losses_alone(table) for name, table in tables.items()}


def test_rows_beyond_own_lengths_are_told_apart(study, tables):
    random = np.random.default_rng(0)
    sized = {n: replace(t, dimensions=random.integers(50, 100, 100)) for n, t in tables.items()}
    own = np.concatenate([sized[name].dimensions for name in ("fit", "calibration")])
    foreign = sized["foreign"].dimensions.copy()
    foreign[:60], foreign[60:65] = 300, 3
    sized["foreign"] = replace(sized["foreign"], dimensions=foreign)
    found = study("columns").account(sized, "foreign")
    outside = (foreign < own.min()) | (foreign > own.max())
    assert found.outside == outside.mean() >= 0.65
    judge = Judge.fit(default(), sized["fit"])
    theirs = judge.scores(sized["foreign"].select(~outside))
    assert found.within == pytest.approx(auroc(judge.scores(sized["test"]), theirs))
    losses = {n: losses_alone(t) for n, t in sized.items()}
    alone = Judge.fit(NearestNeighbours(), losses["fit"])
    whole = [alone.scores(losses[name]) for name in ("test", "foreign")]
    assert found.ladder["neighbours, losses"] == pytest.approx(auroc(*whole))
    few = replace(sized["foreign"], dimensions=np.full(100, 300))
    assert np.isnan(study("columns").account({**sized, "foreign": few}, "foreign").within)


def test_norms_alone_do_not_see_the_loss(study, tables):
    same = replace(tables["foreign"], values=tables["test"].values)
    found = study("columns").account({**tables, "foreign": same}, "foreign")
    assert found.ladder["neighbours, norms"] == pytest.approx(0.5)
    assert found.ladder["neighbours, losses"] > 0.8


def test_the_words_on_a_lost_pair_follow_from_its_steps(study, tables):
    findings, columns = study("findings"), study("columns")
    found = columns.account(tables, "foreign")
    ladder = dict.fromkeys(found.ladder, 0.9) | {"default": 0.7}
    told = findings.why(replace(found, ladder=ladder, best="h.0", best_area=0.6))
    assert told == "the norms drown what needs no gradient (-0.200)"
    told = findings.why(replace(found, ladder=ladder, best="h.0", best_area=0.8))
    assert told == "the norms drown what needs no gradient (-0.200); diluted: h.0 alone has 0.800"
    flat = dict.fromkeys(found.ladder, 0.5)
    assert "no loss and no layer" in findings.why(replace(found, ladder=flat, best_area=0.505))


def test_layers_are_chosen_by_their_blocks_and_kinds(make_features):
    names = [f"h.{i}.{part}" for i in range(7) for part in ("ln_1.weight", "attn.weight")]
    table = make_features(N=4, J=15, names=[*names, "ln_f.weight"])
    assert last_blocks(table).names == tuple(names[4:])
    assert norm_layers(table).names == (*names[::2], "ln_f.weight")
    with pytest.raises(ValueError, match="its last 5 are all of them"):
        last_blocks(make_features(N=4, J=2, names=["h.0.a", "h.1.a"]))
    with pytest.raises(ValueError, match="is called a normalisation"):
        norm_layers(make_features(N=4, J=2))


def test_trivial_codes_are_what_they_are_called(study):
    trained = study("trained")
    levels = torch.tensor([[0, 0, 255]])
    silent = Samples(-torch.ones(1, 2))  # its level is 0
    assert trained.histogram_bits(levels, silent) == pytest.approx(-np.log2(3 / 259))
    train = torch.randn(50, 3, dtype=torch.float64) * 2 + 1
    law = norm(train.mean(0), train.std(0))
    expected = -law.logpdf(np.zeros((1, 3))).mean() / np.log(2)
    assert trained.independent_bits(train, torch.zeros(1, 3)) == pytest.approx(expected)


def test_gaussians_of_tables_have_the_noise_of_the_flow(study):
    pytest.importorskip("zuko")
    train = torch.randn(40, 2).round(decimals=1)
    model = build("nsf", "tiny", (2,))
    model.initialise(train)
    laws = study("trained").gaussians(model, train)
    noise = model.step**2 / 12 + (model.config.noise * model.deviation) ** 2
    expected = np.cov(train.double().T, bias=True) + np.diag(noise.double())
    np.testing.assert_allclose(laws["Gaussian"].covariance_matrix, expected, rtol=1e-6)
    apart = laws["Gaussian per column"].covariance_matrix
    np.testing.assert_allclose(apart, np.diag(np.diag(expected)), rtol=1e-6)


def test_the_best_rival_is_none_of_ours(study):
    studies = study("studies")
    areas = {
        "fimetric": 0.9,
        "losses-alone": 0.95,
        "loudness": 0.99,
        "likelihood": 0.6,
        "min-k": 0.7,
    }
    found = [
        Comparison("m", "f", 0, "own", "far", "far", method, 1, "random", area, area, area, 9, 9)
        for method, area in areas.items()
    ]
    shown = studies.Study("text", None, Found(found, {}, [], []), None)
    assert shown.best_rival(found[0]).method == "min-k"
