"""The mean e-value of blocks against loops written out, and the presets made of it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
import torch
from tests.statistics.test_dose import Conjugate

import fimetric as fm
from fimetric.data import Samples
from fimetric.detectors import (
    DENSITIES,
    PRESETS,
    BalancedNeighbours,
    EValues,
    create,
    from_state,
)
from fimetric.detectors.own_distances import own_distances
from fimetric.evaluation.run import evaluate
from fimetric.extraction import extractor
from fimetric.features.groups import means, overlapping
from fimetric.models import build
from fimetric.objectives import NegativeELBO, Objective

PARTS = ("rate", "iwae", "worst-fifth", "code/png", "code/zlib", "loss/t=3")
ALL = ("norms", "more parts", "loss", "code", "ratio", "worst")


@pytest.fixture
def make(make_features):
    """Return a maker of tables with parts; groups share samples as those of a fit do."""

    def made(N=30, seed=0, group_size=1, **fields):
        parts = np.random.default_rng(seed + 100).normal(9, 2, size=(N, len(PARTS)))
        table = make_features(N=N, J=7, seed=seed)
        table = replace(table, **{"parts": parts, "part_names": PARTS, **fields})
        return table if group_size == 1 else means(table, overlapping(N, group_size, N, 0))

    return made


def nearest(fit, block, row, own=None):
    """Log mean squared distance to five rows; not to those that share a sample with row ``own``."""
    columns = columns_of(block, fit)
    deviation = columns.std(0)
    distances = []
    for other in range(len(fit)):
        if own is not None and set(fit.group_ids(other)) & set(fit.group_ids(own)):
            continue
        distances.append((((row - columns[other]) / deviation) ** 2).sum())
    return math.log(np.mean(sorted(distances)[:5]))


def columns_of(block, table):
    losses = table.group_losses
    if block == "norms":
        return np.concatenate([table.values, losses], 1)
    chosen = [0, 1, 2, 5] if block == "more parts" else [0, 2]
    return np.concatenate([table.group_parts[:, chosen], losses], 1)


def level(fit, table):
    losses = fit.group_losses
    return ((table.group_losses - losses.mean(0)) / losses.std(0)).mean(1)


def values(block, fit, table, own=False):
    if block in ("norms", "parts", "more parts"):
        rows = columns_of(block, table)
        return [nearest(fit, block, row, i if own else None) for i, row in enumerate(rows)]
    short = {id(t): t.group_parts[:, 3:5].min(1) for t in (fit, table)}
    if block == "loss":
        return level(fit, table)
    if block == "worst":
        return table.group_parts[:, 2]
    if block == "ratio":
        return table.group_losses.mean(1) / short[id(table)]
    design = np.stack([short[id(fit)], np.ones(len(fit))], 1)
    line = np.linalg.lstsq(design, level(fit, fit), rcond=None)[0]
    return level(fit, table) - line[0] * short[id(table)] - line[1]


def by_hand(fit, other, blocks):
    scores = np.zeros(len(other))
    for block in blocks:
        own, found = (np.array(values(block, fit, t, t is fit)) for t in (fit, other))
        for i, value in enumerate(found):
            p = (1 + sum(x >= value for x in own)) / (len(own) + 1)
            u = (value - own.mean()) / own.std()
            scores[i] += 0.5 / math.sqrt(p) / len(blocks) + 1e-3 * u
    return scores


CASES = [*[(block,) for block in (*ALL, "parts")], ALL, ("loss", "parts", "ratio")]


@pytest.mark.parametrize("group_size", [1, 3])
@pytest.mark.parametrize("blocks", CASES)
def test_scores_are_those_of_loops(make, blocks, group_size):
    fit, other = make(group_size=group_size), make(N=9, seed=1, group_size=group_size)
    found = EValues(blocks).fit(fit).score(other)
    np.testing.assert_allclose(found, by_hand(fit, other, blocks), rtol=1e-9)


def test_own_distances_in_chunks_are_the_same(make, monkeypatch):
    table = make(N=40, group_size=2)
    whole = own_distances(table.values, table, 5)
    monkeypatch.setattr("fimetric.detectors.own_distances.CHUNK", 90)
    np.testing.assert_array_equal(own_distances(table.values, table, 5), whole)


def test_groups_that_all_share_a_sample_are_neighbours_nevertheless(make):
    table = make(N=3, group_size=2)  # of three samples, any two pairs share one
    assert np.isfinite(own_distances(table.values, table, 5)).all()


@pytest.mark.parametrize("blocks", CASES)
def test_saved_and_read_again_to_the_bit(make, tmp_path, blocks):
    density, other = EValues(blocks).fit(make()), make(N=9, seed=1)
    arrays, description = density.state()
    safetensors.numpy.save_file(arrays, tmp_path / "a.safetensors")
    again = from_state(safetensors.numpy.load_file(tmp_path / "a.safetensors"), description)
    np.testing.assert_array_equal(again.score(other), density.score(other))


def test_blocks_that_a_table_lacks_are_left_out(make, make_features):
    density = EValues(ALL).fit(make_features(J=7))
    assert density.found_ == ("norms", "loss")
    with pytest.raises(ValueError, match="none of the blocks worst, code is in Features"):
        EValues(("worst", "code")).fit(make_features(J=7))


def test_constant_parts_losses_and_codes_tell_nothing(make):
    table = make(parts=np.full((30, len(PARTS)), 4.0))
    density = EValues(("parts", "code")).fit(replace(table, losses=np.full((30, 2), 5.0)))
    assert density.found_ == ("code",)
    assert (density.score(table) == 0.5 / math.sqrt(1)).all()


def test_a_block_without_spread_says_by_p_values_alone_what_is_above_it(make):
    table = make(parts=np.full((30, len(PARTS)), 4.0))
    density, other = EValues(("worst",)).fit(table), make(N=3, seed=1)
    other.parts[:, 2] = 4.0, 5.0, 500.0
    np.testing.assert_allclose(density.score(other), [0.5, *[0.5 * math.sqrt(31)] * 2])


def test_two_rows_are_enough(make):
    density = EValues(("norms", "parts", "loss")).fit(make(N=2))
    assert density.found_ == ("norms", "parts", "loss")
    assert np.isfinite(density.score(make(N=9, seed=1))).all()


def test_what_is_far_below_its_mean_hides_nothing(make):
    density, other = EValues(("loss", "parts", "ratio")).fit(make()), make(N=2, seed=1)
    losses = np.tile(other.losses[:1], (2, 1))
    losses[1] = -1e8
    parts = np.tile(other.parts[:1], (2, 1))
    inside, strange = density.score(replace(other, losses=losses, parts=parts))
    assert strange > inside


def test_parts_that_are_not_finite(make, caplog):
    fit, other = make(), make(N=6, seed=1)
    lost = fit.parts.copy()
    lost[3, 3] = np.nan  # not of all: no code of any
    density = EValues(("loss", "code")).fit(replace(fit, parts=lost))
    assert density.parts_ == ("rate", "worst-fifth", "code/zlib")
    strange = other.parts.copy()
    strange[2, 4] = np.nan
    found = density.score(replace(other, parts=strange))
    assert np.isposinf(found[2]) and np.isfinite(np.delete(found, 2)).all()
    assert "sample 'image2', part 'code/zlib': nan" in caplog.text


@pytest.mark.parametrize("blocks", [(), ("norms", "norms"), ("norm",)])
def test_other_blocks_are_refused(blocks):
    with pytest.raises(ValueError, match="blocks must be some of norms, parts, more parts, loss"):
        EValues(blocks)


@pytest.mark.parametrize(("N", "what"), [(0, "0 rows"), (1, "1 rows")])
def test_too_few_rows(make, N, what):
    with pytest.raises(ValueError, match=f"cannot fit a density to {what}"):
        EValues().fit(make(N=30).select(slice(N)))


# Presets

OWN = torch.randn(120, 2, generator=torch.Generator().manual_seed(0)).double()
NEW = 3 * torch.randn(12, 2, generator=torch.Generator().manual_seed(1)).double()


def test_presets_are_densities_by_name():
    for name, preset in PRESETS.items():
        made, named = preset(), create(name)
        assert type(made) is type(named) and made.name in DENSITIES
        assert getattr(fm.detectors, name) is preset
    costly = {name: (preset().gradient, preset().parts) for name, preset in PRESETS.items()}
    assert costly == {"default": (True, "free"), "cheap": (False, "free"), "best": (True, "costly")}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_detector_scores_as_the_density_on_its_table(preset, tmp_path):
    objective = NegativeELBO(Conjugate())
    detector = fm.Detector(objective, preset).fit(OWN)
    table = fm.extract(objective, NEW, parts=detector.density.parts, progress=False)
    np.testing.assert_allclose(detector.score(NEW), detector.density.score(table), rtol=1e-9)
    np.testing.assert_allclose(detector.score(table), detector.score(NEW), rtol=1e-9)
    detector.save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", objective)
    np.testing.assert_array_equal(again.score(NEW), detector.score(NEW))


def test_the_cheap_one_takes_no_gradient(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a gradient was taken")

    monkeypatch.setattr(extractor, "GradientNorms", refuse)
    detector = fm.Detector(NegativeELBO(Conjugate()), "cheap").fit(OWN)
    features = detector.features(NEW)
    assert features.names == () and len(features.bounds) == 0
    assert (detector.p_value(NEW) > 0).all()
    with pytest.raises(AssertionError):
        fm.Detector(NegativeELBO(Conjugate())).fit(OWN)


def test_tables_with_and_without_norms_are_told_apart(tmp_path):
    objective = NegativeELBO(Conjugate())
    bare = fm.extract(objective, OWN, folder=tmp_path / "f", gradient=False, progress=False)
    assert bare.values.shape == (120, 0)
    np.testing.assert_array_equal(bare.losses, fm.extract(objective, OWN, progress=False).losses)
    with pytest.raises(ValueError, match="losses alone, without norms"):
        fm.extract(objective, OWN, folder=tmp_path / "f", progress=False)
    with pytest.raises(ValueError, match="losses alone, without norms"):
        fm.Detector(objective).fit(bare)
    fm.Detector(objective, "cheap").fit(bare)
    fm.extract(objective, OWN, folder=tmp_path / "g", progress=False)
    with pytest.raises(ValueError, match="norms, not losses alone"):
        fm.extract(objective, OWN, folder=tmp_path / "g", gradient=False, progress=False)


def test_what_a_density_does_not_read_plays_no_part(make):
    fit, other = make(), make(N=6, seed=1)
    values = other.values.copy()
    values[2, 3] = np.nan  # a norm
    changed = replace(other, values=values)
    density = EValues().fit(fit)
    np.testing.assert_array_equal(density.score(changed), density.score(other))
    balanced = BalancedNeighbours().fit(fit)
    assert balanced.parts_ == ("rate", "worst-fifth", "code/png", "code/zlib")
    free = fit.with_parts(balanced.parts_)
    np.testing.assert_array_equal(
        BalancedNeighbours().fit(free).score(other), balanced.score(other)
    )


def test_a_ratio_to_losses_of_zero_or_less_is_left_out(make):
    fit = make()
    losses = fit.losses - fit.losses.min()
    assert EValues(("loss", "ratio")).fit(replace(fit, losses=losses)).found_ == ("loss",)
    assert EValues(("loss", "ratio")).fit(replace(fit, losses=losses + 1)).found_ == (
        "loss",
        "ratio",
    )


def test_a_state_of_another_version_is_refused(make):
    arrays, description = BalancedNeighbours().fit(make()).state()
    del arrays["scale_"]
    with pytest.raises(
        ValueError, match=r"has no scale_: another version .* fit the detector again"
    ):
        from_state(arrays, description)


def test_one_table_serves_every_preset():
    objective = NegativeELBO(Conjugate())
    whole = fm.extract(objective, OWN, parts="costly", progress=False)
    for preset in PRESETS:
        mine = fm.Detector(objective, preset).fit(whole)
        alone = fm.Detector(objective, preset).fit(OWN)
        np.testing.assert_allclose(mine.score(NEW), alone.score(NEW), rtol=1e-9)
        np.testing.assert_allclose(
            mine.score(NEW),
            mine.score(fm.extract(objective, NEW, parts="costly", progress=False)),
            rtol=1e-9,
        )
    bare = fm.extract(objective, OWN, gradient=False, progress=False)
    with pytest.raises(ValueError, match="this table has no norms, only losses"):
        BalancedNeighbours().fit(bare)
    with pytest.raises(ValueError, match=r"losses alone, without norms.*gradient=True"):
        fm.Detector(objective, group_size=2).fit(bare.grouped(2))
    for name in ("likelihood", "typicality"):
        assert fm.Detector(objective, name).fit(bare).features(NEW).names == ()


def test_pictures_off_the_grid_are_judged_as_their_nearest_levels():
    model = build("vae", "tiny", (1, 8, 8)).eval()
    levels = torch.randint(256, (120, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    detector = fm.Detector(NegativeELBO(model)).fit(levels / 255)
    moved = levels[:20] / 255 * 0.9999
    assert np.isfinite(detector.score(moved)).all()


def test_an_evaluation_does_not_hang_on_which_other_densities_there_are(tmp_path):
    objective = NegativeELBO(Conjugate())
    own, foreign = (Samples(x, name=name) for x, name in ((OWN, "own"), (NEW, "new")))
    sets = {"new": foreign}
    found = [
        evaluate(objective, own, sets, (1,), densities, progress=False).scores[1]
        for densities in (("default",), ("default", "best"), ("cheap",))
    ]
    for name in ("own", "new"):
        np.testing.assert_allclose(found[0]["default"][name], found[1]["default"][name], rtol=1e-9)
    assert set(found[2]) == {"cheap"}


def test_a_loss_that_differentiates_needs_no_gradient_of_its_own():
    model = torch.nn.Linear(2, 1).double()

    def losses(x):
        x = x.clone().requires_grad_()
        return torch.autograd.grad(model(x).square().sum(), x, create_graph=True)[0].square().sum(1)

    assert np.isfinite(fm.Detector(Objective(losses, model), "cheap").fit(OWN).score(NEW)).all()
