"""The claim on a model that is trained for a moment: its parts, and the rule of its verdict."""

import numpy as np
import pytest
import torch
from PIL import Image

import fimetric as fm
from fimetric.claims import Drawn, Study
from fimetric.claims.metric import LEVELS, OTHERS, judge, log_metric, metric, spearman
from fimetric.claims.metric_parts import choose_parts
from fimetric.claims.pictures.metric import metric_scatter
from fimetric.data import Samples, load
from fimetric.objectives import standard_objective


@pytest.fixture(scope="module")
def model():
    config = {"steps": 1, "levels": 1, "hidden": 8, "logit": 1e-4}
    model = fm.models.build("glow", config, (1, 8, 8))
    digits = load("digits", split="train").tensor(range(256))
    generator = torch.Generator().manual_seed(0)
    model.initialise(digits)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for batch in digits.split(64):
        optimiser.zero_grad()
        model.training_losses(batch, generator).mean().backward()
        optimiser.step()
    return model.eval()


def study(model, folder, drawn=True, own=24):
    objective = standard_objective(model)
    samples = None
    if drawn:
        images = model.sample(12, torch.Generator().manual_seed(1))
        samples = Drawn(objective.continuous(), Samples(images, name="drawn"), "by inversion")
    digits, letters = load("digits", split="test"), load("letters", split="test")
    return Study(
        objective,
        digits.select(range(own)),
        {"letters": letters.select(range(10))},
        samples,
        folder,
        batch_size=32,
        progress=False,
    )


def test_the_finding_has_all_its_parts(model, tmp_path):
    found = metric(study(model, tmp_path / "study"), tmp_path / "metric")
    assert found.claim == "metric" and found.title.endswith("s^T F^-1 s")
    own = {level: found.numbers[f"Spearman, digits, {level}"] for level in OTHERS}
    assert (found.verdict, found.because) == judge(own)
    assert [picture.file for picture in found.pictures] == ["levels.png"]
    with Image.open(tmp_path / "metric" / "levels.png") as picture:
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    ranks, metrics, densities = found.tables
    assert [row[0] for row in ranks.rows] == list(OTHERS) and ranks.headings[1] == "digits"
    for table in (metrics, densities):
        assert [row[0] for row in table.rows] == list(LEVELS)
        assert list(table.headings) == ["level", "letters"]
    assert len(found.numbers) == 2 * len(OTHERS) + 2 * len(LEVELS)
    assert all(np.isfinite(value) for value in found.numbers.values())
    assert all(0 <= v <= 1 for name, v in found.numbers.items() if name.startswith("AUROC"))
    notes = " ".join(found.notes)
    assert "12 samples of the model (by inversion); it is the Fisher information matrix." in notes
    whole = sum(p.numel() for p in model.parameters())
    assert f"Of the {whole} dimensions of the low-rank level" in notes
    assert "12 of digits, 10 of letters" in notes and "12 others of digits" in notes
    for table in found.tables:
        assert table.markdown()
    places = {place.name for place in (tmp_path / "study" / "features").iterdir()}
    assert {"metric-low-rank-letters", "metric-diagonal-for-the-density"} <= places


def test_references_are_the_models_own_samples_or_a_part_that_is_not_scored(model, tmp_path):
    parts = choose_parts(study(model, tmp_path))
    assert len(parts.references) == 12 and parts.references.ids[0] == "drawn/0"
    parts = choose_parts(study(model, tmp_path, drawn=False, own=41))
    ids = [*parts.references.ids, *parts.fit.ids, *parts.scored["digits"].ids]
    assert len(set(ids)) == len(ids) == 40
    assert [len(parts.references), len(parts.scored["digits"]), len(parts.fit)] == [20, 10, 10]
    assert "held-out samples of digits" in parts.words
    with pytest.raises(ValueError, match="3 samples of digits are too few"):
        choose_parts(study(model, tmp_path, drawn=False, own=3))


def test_the_verdict_follows_the_criterion():
    def verdict(*ranks):
        return judge(dict(zip(OTHERS, ranks, strict=True)))[0]

    assert verdict(0.7, 0.9, 1.0) == "holds"
    assert verdict(0.69, 0.9, 1.0) == "holds in part" == verdict(0.01, 0.7, 0.02)
    assert verdict(0.01, 0.02, 0.99) == "does not hold"
    assert verdict(0.69, 0.69, 0.69) == "does not hold" == verdict(0.9, 0.9, -0.1)
    assert verdict(0.9, 0.9, float("nan")) == "does not hold" == verdict(0.0, 0.9, 0.9)


def test_rank_correlation_with_its_interval():
    a = np.arange(50.0)
    found = spearman(a, np.exp(a / 10))
    assert found.value == pytest.approx(1) and found.low <= found.value <= found.high <= 1
    noise = np.random.default_rng(2).normal(size=50)
    found = spearman(a, noise)
    assert -0.5 < found.low < found.value < found.high < 0.5
    strange = noise.copy()
    strange[[0, 3]] = np.nan, np.inf
    kept = ~np.isin(a, [0, 3])
    assert spearman(a, strange) == spearman(a[kept], noise[kept])
    assert np.isnan(spearman(a, np.ones(50))).all() and np.isnan(spearman(a[:3], a[:3])).all()


def test_intervals_cover_as_often_as_they_say():
    random, hits = np.random.default_rng(1), 0
    for _ in range(300):
        x, y = random.normal(size=(2, 60))
        found = spearman(x, 0.6 * x + 0.8 * y)
        hits += found.low <= 0.582 <= found.high  # 6 / pi arcsin(0.6 / 2)
    assert 0.91 < hits / 300 < 0.985


def test_the_metric_is_the_sum_of_the_columns(make_features):
    features = make_features(N=5, J=4)
    expected = np.log(np.exp(features.values).sum(1) / 100)
    np.testing.assert_allclose(log_metric(features), expected, rtol=1e-12)


def test_samples_that_are_not_finite_and_single_sets_are_drawn(tmp_path):
    own = np.array([0.0, 1.0, np.nan, np.inf])
    logs = {"a": {"own": own}, "b": {"own": own[::-1]}, "c": {"own": own}}
    metric_scatter(tmp_path / "x.png", logs, {"b": "one", "c": "two"}, "own")
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
