"""The claims on layer-wise norms: their criteria on features that are known, and on tiny models."""

import importlib
import json
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

import fimetric as fm
from fimetric.claims import Study, draw
from fimetric.claims.chi_square import chi_square, spread_out
from fimetric.claims.chi_square import judge as judge_chi_square
from fimetric.claims.correlation import correlation
from fimetric.claims.correlation import judge as judge_correlation
from fimetric.claims.norms import Shift, choose_two, norms
from fimetric.claims.norms import judge as judge_norms
from fimetric.data import Samples
from fimetric.fisher.correlation import Correlation
from fimetric.fisher.families import FamilyFits, Fit
from fimetric.metrics import Estimate
from fimetric.objectives import standard_objective

N, K = 200, 24
MODULES = [f"fimetric.claims.{name}" for name in ("chi_square", "correlation", "norms")]
RANK = f"{MODULES[0]}.effective_rank"


@dataclass
class Known:
    """A study whose features are given."""

    tables: dict
    own: Samples = field(default_factory=lambda: Samples(torch.zeros(N, 1), name="own"))
    drawn: None = None
    objective: None = None
    seed: int = 0
    batch_size: int = 8
    progress: bool = False

    @property
    def sets(self):
        return {name: Samples(torch.zeros(len(f), 1), name=name) for name, f in self.tables.items()}

    @property
    def foreign(self):
        return {name: samples for name, samples in self.sets.items() if name != "own"}

    def features(self, name):
        return self.tables[name]

    def drawn_features(self):
        return None


@pytest.fixture
def known(make_features):
    """Return a maker of studies from name -> (log norms (N, K), losses (N,) or None)."""

    def make(**sets):
        tables = {}
        for name, (values, losses) in sets.items():
            n, J = values.shape
            losses = np.zeros(n) if losses is None else losses
            tables[name] = make_features(
                N=n,
                J=J,
                values=values,
                losses=losses[:, None],
                views=["loss"],
                bounds=np.zeros(J),
                numels=np.full(J, 7),
            )
        return Known(tables)

    return make


def independent(seed=0, n=N, freedom=None):
    random = np.random.default_rng(seed)
    if freedom is None:
        return random.normal(size=(n, K))
    return np.log(random.chisquare(freedom, size=(n, K)))


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the pictures out, which take longer than the rest."""
    for module in map(importlib.import_module, MODULES):
        for name in [name for name in vars(module) if name.startswith("draw_")]:
            monkeypatch.setattr(module, name, lambda *_: None)


def whole(finding, folder):
    """Check that all of a finding is there and can be kept."""
    for picture in finding.pictures:
        assert (folder / picture.file).stat().st_size > 8_000
    assert {p.name for p in folder.iterdir()} == {p.file for p in finding.pictures}
    for table in finding.tables:
        assert all(len(row) == len(table.headings) for row in table.rows)
    path = folder / "finding.json"
    finding.write(path, {})
    json.loads(path.read_text())
    assert all(isinstance(value, float) for value in finding.numbers.values())


# chi-square


@pytest.fixture
def no_model(monkeypatch):
    """Let every layer have an effective rank of 7, the last one none."""
    monkeypatch.setattr(RANK, lambda *_: np.array([7.0] * (K - 1) + [np.nan]))


def mixed(*parts):
    """Columns in turn from several tables: (table, number of its columns)."""
    return np.concatenate([table[:, :count] for table, count in parts], axis=1)


HEAVY = 3 * np.sign(independent(3)) + 0.1 * independent(4)  # two humps: no family
CHI, FREE = independent(1, freedom=7), independent(2, freedom=3.3)


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        (CHI, "holds"),  # with numel degrees of freedom
        (FREE, "holds"),  # with free ones
        (mixed((CHI, 8), (FREE, 8), (HEAVY, 8)), "holds"),
        (mixed((FREE, 6), (HEAVY, 18)), "holds in part"),  # a quarter
        (HEAVY, "does not hold"),
    ],
)
def test_chi_square_is_judged_by_its_criterion(known, no_model, tmp_path, undrawn, values, verdict):
    found = chi_square(known(own=(values, None)), tmp_path)
    assert found.verdict == verdict
    assert found.numbers["own: layers"] == K
    assert found.numbers["own: effective rank"] == 7
    fitted = {name: found.numbers[f"own: {name} fits"] for name in ("chi-square", "log-normal")}
    assert (fitted["chi-square"] >= 20) == (values is CHI)
    assert sum(v for k, v in found.numbers.items() if k.endswith("closest")) == K


@pytest.mark.parametrize(
    ("chi", "moments", "likelihood", "distance", "verdict"),
    [
        ([1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.3, "holds"),
        ([1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], 0.3, "holds"),
        ([0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], 0.3, "holds"),
        ([1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0], 0.3, "holds in part"),
        ([1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.3, "does not hold"),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.05, "holds in part"),
        ([0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], 0.051, "does not hold"),
    ],
)
def test_any_chi_square_that_fits_a_layer_counts(chi, moments, likelihood, distance, verdict):
    def fit(which):
        where = np.full(4, distance)
        return Fit(where, where, where, np.where(which, 0.051, 0.05))

    fits = {
        "chi-square": fit(chi),
        "gamma": fit(moments),
        "gamma-likelihood": fit(likelihood),
        "log-normal": fit([1, 1, 1, 1]),
    }
    assert judge_chi_square(FamilyFits(tuple("abcd"), np.ones(4, int), 9, fits)) == verdict


def test_chi_square_holds_in_part_where_the_gamma_is_merely_close(
    known, no_model, tmp_path, undrawn
):
    """A log-normal that is nearly a gamma, of so many samples that each layer shows it."""
    values = 0.6 * independent(5, n=3000)
    values[:, 6:] = 1.0  # not informative
    study = known(own=(values, None))
    study.own = Samples(torch.zeros(3000, 1), name="own")
    found = chi_square(study, tmp_path)
    assert found.numbers["own: gamma fits"] == found.numbers["own: gamma-likelihood fits"] == 0
    assert found.numbers["own: gamma-likelihood median distance"] < 0.05
    assert found.verdict == "holds in part"


def test_chi_square_leaves_out_rows_and_layers_and_says_so(known, monkeypatch, tmp_path, undrawn):
    values = CHI.copy()
    values[3, 4], values[:, 5], values[7, 6] = np.nan, 1.0, -np.inf
    given = []

    def rank(objective, samples, *_):
        given.append(len(samples))
        return np.arange(1.0, K + 1)

    monkeypatch.setattr(RANK, rank)
    found = chi_square(known(own=(values, None)), tmp_path)
    assert found.numbers["own: layers"] == K - 2
    assert found.numbers["own: effective rank"] == np.median(np.delete(np.arange(1, K + 1), [5, 6]))
    assert given == [N - 1]
    assert any("own: 1 samples" in note for note in found.notes)


def test_layers_shown_are_spread_over_the_distances():
    assert spread_out(np.array([0.3, 0.1, 0.2, 0.5, 0.4]), 3) == [1, 0, 3]
    assert spread_out(np.array([0.3, 0.1]), 6) == [1, 0]


# correlation


def test_independent_layers_hold(known, tmp_path, undrawn):
    found = correlation(known(own=(independent(), None)), tmp_path)
    assert found.verdict == "holds"
    assert found.numbers["own: effective number"] > K - 2


def test_layers_that_are_alike_do_not(known, tmp_path, undrawn):
    alike = independent()[:, :1] + 0.5 * independent(1)
    found = correlation(known(own=(alike, None)), tmp_path)
    assert found.verdict == "does not hold"
    assert found.numbers["own: effective number"] < 2


def test_neighbours_alone_hold_in_part(known, tmp_path, undrawn):
    z = independent(n=2000)[:, :3]
    blocks = np.repeat(z, K // 3, axis=1) + 0.1 * independent(1, n=2000)
    found = correlation(known(own=(blocks, None)), tmp_path)
    assert found.numbers["own: mean absolute"] > 0.2
    assert found.numbers["own: mean absolute beyond 10"] < 0.2
    assert found.verdict == "holds in part"
    assert found.numbers["own: effective number"] == pytest.approx(3, abs=0.2)


@pytest.mark.parametrize(
    ("reach", "r", "verdict"), [(5, 0.3, "holds"), (12, 0.5, "holds in part"), (15, 0.9, None)]
)
def test_correlation_is_judged_by_its_criterion(reach, r, verdict):
    """Layers are correlated up to a distance: of pairs more than 10 apart 25, or 55, of 91."""
    distance = np.abs(np.subtract.outer(np.arange(24), np.arange(24)))
    matrix = np.where(distance == 0, 1, np.where(distance <= reach, -r, 0))
    found = Correlation(matrix, tuple(map(str, range(24))), 100)
    assert judge_correlation(found) == (verdict or "does not hold")


def test_foreign_sets_are_correlated_in_the_layers_of_the_own(known, tmp_path):
    own, foreign, dead = independent(), independent(1), independent(2)
    own[:, 3] = 0.0  # not informative
    foreign[:2, 5] = -np.inf
    dead[:, 7] = -np.inf  # no row is left
    found = correlation(
        known(own=(own, None), foreign=(foreign, None), dead=(dead, None)), tmp_path
    )
    assert found.numbers["foreign: layers"] == K - 1
    assert found.numbers["foreign: rows left out"] == 2
    assert not any(key.startswith("dead") for key in found.numbers)
    assert any(note.startswith("dead is left out: 0 of 200 rows") for note in found.notes)
    assert [row[0] for row in found.tables[0].rows] == ["own", "foreign"]
    whole(found, tmp_path)


def test_one_layer_has_no_correlation(known, tmp_path, undrawn):
    assert correlation(known(own=(independent()[:, :1], None)), tmp_path) is None
    two = correlation(known(own=(independent()[:, :2], None)), tmp_path)
    assert two.verdict == "holds"


# norms


def own_and(known, foreign, losses=None):
    random = np.random.default_rng(9)
    return known(own=(independent(), random.normal(size=N)), foreign=(foreign, losses))


def test_larger_norms_that_the_loss_does_not_show_hold(known, tmp_path, undrawn):
    losses = np.random.default_rng(8).normal(size=150)
    foreign = independent(1, n=150) + 2
    foreign[0] = 1e6  # an outlier that a mean would follow
    study = known(own=(3 * independent(), np.zeros(N)), foreign=(3 * foreign, losses))
    study.tables["own"].losses[:] = np.random.default_rng(9).normal(size=(N, 1))
    found = norms(study, tmp_path)
    assert found.verdict == "holds"
    assert found.numbers["foreign: share of layers with larger norms"] == 1
    assert found.numbers["foreign: median shift in deviations"] == pytest.approx(2, abs=0.2)
    # of two normals two deviations apart: Phi(2 / sqrt 2)
    assert found.numbers["foreign: median separation of a layer"] == pytest.approx(0.421, abs=0.02)
    for size in (1, 5):
        assert found.numbers[f"foreign: AUROC of layerwise-gaussian, groups of {size}"] > 0.95
        for detector in ("typicality", "likelihood"):
            auroc = found.numbers[f"foreign: AUROC of {detector}, groups of {size}"]
            assert auroc == pytest.approx(0.5, abs=0.2)


def test_groups_are_described_by_the_mean_of_log_norms(known, tmp_path, undrawn):
    """Whose spread is smaller by sqrt 5, so that a small shift is seen."""
    found = norms(own_and(known, independent(1) + 0.5, np.zeros(N)), tmp_path)
    single, five = (
        found.numbers[f"foreign: AUROC of layerwise-gaussian, groups of {size}"] for size in (1, 5)
    )
    assert five > single + 0.2


def test_smaller_norms_do_not_hold_though_they_are_detected(known, tmp_path, undrawn):
    found = norms(own_and(known, independent(1) - 3, np.zeros(N)), tmp_path)
    assert found.verdict == "holds in part"
    assert found.numbers["foreign: share of layers with larger norms"] == 0
    assert found.numbers["foreign: median separation of a layer"] == pytest.approx(0.483, abs=0.02)
    assert found.numbers["foreign: AUROC of layerwise-gaussian, groups of 1"] > 0.95


def test_norms_that_are_alike_do_not_hold(known, tmp_path, undrawn):
    found = norms(own_and(known, independent(1), np.full(N, 50.0)), tmp_path)
    assert found.verdict == "does not hold"
    assert found.numbers["foreign: AUROC of typicality, groups of 1"] == 1


def test_fitted_on_one_half_and_tested_on_the_other(known, tmp_path, undrawn):
    own = independent()
    own[N // 2 :] += 4  # foreign to the first half
    study = known(
        own=(own, np.zeros(N)),
        first=(independent(1), np.zeros(N)),
        second=(independent(1) + 4, np.zeros(N)),
    )
    found = norms(study, tmp_path).numbers
    assert found["first: AUROC of layerwise-gaussian, groups of 1"] < 0.05
    assert found["second: AUROC of layerwise-gaussian, groups of 1"] == pytest.approx(0.5, abs=0.1)


def test_rows_and_sets_that_are_strange_are_taken(known, tmp_path):
    own, foreign = independent(), independent(1)
    own[3, 2] = own[150, 3] = np.nan
    foreign[:120, 4] = -np.inf  # its median as well
    foreign[5, 6] = np.inf
    losses = np.zeros(N)
    study = known(
        own=(own, losses),
        foreign=(foreign, losses),
        few=(independent(2, n=3), np.zeros(3)),
        broken=(np.full((7, K), np.nan), np.zeros(7)),
    )
    found = norms(study, tmp_path)
    assert any("foreign: 1 samples are not finite" in note for note in found.notes)
    assert "few: AUROC of typicality, groups of 1" in found.numbers
    assert "few: AUROC of typicality, groups of 5" not in found.numbers
    assert found.numbers["broken: AUROC of layerwise-gaussian, groups of 1"] > 0.98
    whole(found, tmp_path)


def test_without_foreign_data_there_is_nothing_to_say(known, tmp_path, undrawn):
    assert norms(known(own=(independent(), None)), tmp_path) is None


def test_too_few_rows_are_not_grouped(known, tmp_path, undrawn):
    study = known(own=(independent(n=8), np.arange(8.0)), foreign=(independent(n=8), np.ones(8)))
    found = norms(study, tmp_path)
    assert not any("groups of 5" in key for key in found.numbers)


def scores(**sets):
    return {
        name: {
            "layerwise-gaussian": Estimate(ours, 0, 1),
            "typicality": Estimate(theirs, 0, 1),
        }
        for name, (ours, theirs) in sets.items()
    }


@pytest.mark.parametrize(
    ("sets", "larger", "verdict"),
    [
        ({"a": (0.9, 0.9), "b": (1.0, 0.2)}, 0.6, "holds"),
        ({"a": (0.9, 0.9), "b": (1.0, 0.2)}, 0.5, "holds in part"),
        ({"a": (0.95, 0.96), "b": (1.0, 0.2)}, 0.6, "holds in part"),
        ({"a": (0.89, 0.5), "b": (1.0, 0.2)}, 0.6, "holds in part"),
        ({"a": (0.3, 0.2), "b": (0.3, 0.9)}, 0.6, "holds in part"),
        ({"a": (0.8, 0.9), "b": (0.3, 0.9)}, 0.6, "holds in part"),
        ({"a": (0.79, 0.9), "b": (0.3, 0.3)}, 0.6, "does not hold"),
        ({}, 0.6, "does not hold"),
    ],
)
def test_norms_are_judged_by_their_criterion(sets, larger, verdict):
    shifts = {"a": Shift(larger, 1, 0.4, 0), "b": Shift(0.9, 1, 0.4, 0)}
    assert judge_norms(shifts, scores(**sets)) == verdict


def test_two_layers_are_large_and_spread_and_from_either_half(make_features):
    values = independent()[:, :6] * [1, 9, 2, 1, 5, 3]
    features = make_features(N=N, J=6, values=values, numels=[90, 1, 90, 90, 1, 95])
    assert choose_two(features) == (2, 5)
    small = make_features(N=N, J=6, values=values, numels=[1, 1, 1, 90, 90, 90])
    assert choose_two(small) == (1, 4)  # the first half has no large one
    assert choose_two(features.columns(features.names[:1])) is None


# on models


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    model = fm.models.build("vae", "tiny", (1, 8, 8)).eval()
    with torch.no_grad():  # not the start, where most gradients are zero
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    objective = standard_objective(model)
    made = draw(model, objective, 40, folder / "drawn", progress=False)
    foreign = {name: fm.data.load(name) for name in ("letters", "patches")}
    digits = fm.data.load("digits")
    return Study(objective, digits, foreign, made, folder, limit=60, batch_size=30, progress=False)


@pytest.mark.parametrize("claim", [chi_square, correlation, norms])
def test_on_a_model(tiny, claim, tmp_path):
    found = claim(tiny, tmp_path)
    whole(found, tmp_path)
    assert found.claim == claim.__name__
    assert found.verdict in ("holds", "holds in part", "does not hold")
    if claim is chi_square:
        assert {row[0] for row in found.tables[0].rows} == {"digits", "model samples"}
        assert 0 < found.numbers["model samples: effective rank"] < 1000
    if claim is norms:
        assert {row[0] for row in found.tables[1].rows} == {"letters", "patches"}


@pytest.mark.parametrize("layers", [1, 2])
def test_few_layers_and_few_rows_are_drawn(known, tmp_path, monkeypatch, layers):
    monkeypatch.setattr(RANK, lambda *_: np.full(layers, np.nan))
    values = [(independent(k, n=9)[:, :layers], np.arange(9.0)) for k in range(2)]
    study = known(own=values[0], foreign=values[1])
    for claim in (chi_square, correlation, norms):
        found = claim(study, tmp_path / claim.__name__)
        assert (found is None) == (claim is correlation and layers == 1)
        if found is not None:
            whole(found, tmp_path / claim.__name__)
