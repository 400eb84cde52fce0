"""Claims on tiny models: what is kept, what is refused, and what a page shows."""

import json
import math
from dataclasses import replace
from typing import get_args

import pytest
import torch

import fimetric as fm
from fimetric.claims import CLAIMS, Study, analyse, draw
from fimetric.claims.finding import Finding, Table, Verdict
from fimetric.claims.page import write_page
from fimetric.claims.score import judge
from fimetric.data import Samples
from fimetric.metrics import Estimate
from fimetric.objectives import standard_objective

N = 130  # two batches of 60 and a rest


def study_of(kind, folder, drawn=True):
    shape = (1, 8, 8)
    model = fm.models.build(kind, "tiny", shape).eval()
    with torch.no_grad():  # not the start, where most gradients are zero
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    objective = standard_objective(model)
    digits = fm.data.load("digits", split="test")
    letters = fm.data.load("letters")
    made = draw(model, objective, N, folder / "drawn", progress=False) if drawn else None
    return Study(objective, digits, {"letters": letters}, made, folder, limit=N, progress=False)


@pytest.mark.parametrize("kind", ["glow", "vae", "diffusion"])
@pytest.mark.parametrize("claim", ["score", "matrix", "paradox"])
def test_every_claim_is_measured_drawn_and_kept(kind, claim, tmp_path, monkeypatch):
    if kind == "diffusion":
        monkeypatch.setattr(fm.models.Diffusion, "sample", quick_sample)
    study = study_of(kind, tmp_path)
    (found,) = analyse(study, tmp_path, [claim])
    assert found.verdict in get_args(Verdict)
    for picture in found.pictures:
        assert (tmp_path / claim / picture.file).stat().st_size > 10_000
    kept, key = Finding.read(tmp_path / claim / "finding.json")
    assert kept == replace(found, tables=kept.tables, pictures=kept.pictures, notes=kept.notes)
    assert key == study.key
    write_page([found], study, tmp_path / "claims.md")
    text = (tmp_path / "claims.md").read_text()
    assert found.because in text
    for picture in found.pictures:
        assert f"]({claim}/{picture.file})" in text


def quick_sample(self, n, generator, steps=50, eta=0.0):
    return (torch.rand(n, *self.shape, generator=generator) * 255).round() / 255


def test_a_finding_is_not_measured_twice(tmp_path, monkeypatch):
    study = study_of("vae", tmp_path)
    first = analyse(study, tmp_path, ["paradox"])
    monkeypatch.setitem(CLAIMS, "paradox", lambda study, folder: pytest.fail("measured again"))
    again = analyse(study, tmp_path, ["paradox"])
    assert again[0].numbers == first[0].numbers


def test_another_study_does_not_take_over_a_folder(tmp_path):
    study = study_of("vae", tmp_path)
    analyse(study, tmp_path, ["paradox"])
    with pytest.raises(ValueError, match="another model"):
        analyse(replace(study, seed=1), tmp_path, ["paradox"])


def test_a_claim_that_cannot_be_measured_leaves_the_others(tmp_path, caplog):
    study = replace(study_of("vae", tmp_path, drawn=False), limit=3)
    found = analyse(study, tmp_path, ["paradox", "score"])
    assert [f.claim for f in found] == ["paradox"]
    assert "score: not measured: a score test needs at least two batches" in caplog.text
    with pytest.raises(ValueError, match="two batches"):
        analyse(study, tmp_path, ["score"])


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (-0.001, 0.0, 0.002, "holds"),
        (0.01, 0.03, 0.05, "holds in part"),
        (0.2, 0.3, 0.4, "does not hold"),
        (-0.3, 0.0, 0.3, "undecided"),  # an interval that is wide proves nothing
        (0.03, 0.08, 0.2, "does not hold"),
    ],
)
def test_the_verdict_on_the_score(low, value, high, verdict):
    assert judge(Estimate(value, low, high), on_samples=True) == verdict


def test_noise_of_their_own_is_measured_for_a_bound(tmp_path):
    (found,) = analyse(study_of("vae", tmp_path), tmp_path, ["score"])
    assert any("noise of their own" in name for name in found.numbers)


def test_foreign_samples_of_another_shape_are_named(tmp_path):
    study = study_of("vae", tmp_path, drawn=False)
    with pytest.raises(ValueError, match="wide has samples of shape"):
        replace(study, foreign={"wide": Samples(torch.rand(5, 1, 8, 16), name="wide")})


def test_an_unknown_claim_is_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="no claim 'proof'"):
        analyse(study_of("vae", tmp_path, drawn=False), tmp_path, ["paradox", "proof"])
    assert not (tmp_path / "paradox").exists()


NUMBERS = {"half": 0.5, "none": math.nan, "most": math.inf, "least": -math.inf}
FOUND = Finding(
    "score", "It is so", "holds", "because", NUMBERS, [Table("t", ["a"], [["1"], ["2"]])]
)


def test_a_finding_is_read_as_it_was_written(tmp_path):
    FOUND.write(tmp_path / "finding.json", {"seed": 1, "drawn": None})
    found, key = Finding.read(tmp_path / "finding.json")
    assert key == {"seed": 1, "drawn": None}
    assert repr(found.numbers) == repr(NUMBERS)
    assert found.tables == FOUND.tables


def test_a_damaged_finding_is_named(tmp_path):
    path = tmp_path / "finding.json"
    FOUND.write(path, {})
    whole = path.read_text()
    older = json.dumps({"study": {}, "finding": {"claim": "score"}})
    for text in ('{"finding": 3}', "[" * 9999, "", older, whole.replace("0.5", "0.4"), "\udcff"):
        path.write_text(text, errors="surrogateescape")
        with pytest.raises(ValueError, match=r"finding\.json is .*remove its folder"):
            Finding.read(path)


def test_claims_that_are_not_about_a_model_are_left_out(tmp_path):
    study = study_of("vae", tmp_path, drawn=False)
    assert analyse(study, tmp_path, ["timesteps"]) == []
    values = Samples(torch.rand(N, 1, 8, 8), name="float")
    assert analyse(replace(study, own=values, foreign={}), tmp_path, ["paradox"]) == []


def test_without_a_sampler_held_out_data_stand_in(tmp_path):
    (found,) = analyse(study_of("glow", tmp_path, drawn=False), tmp_path, ["score"])
    assert found.verdict != "holds"
    assert any("no sampler" in note for note in found.notes)


def test_samples_are_kept_and_only_of_this_model(tmp_path):
    study = study_of("glow", tmp_path)
    model, objective = study.objective.module, study.objective
    again = draw(model, objective, N, tmp_path / "drawn", progress=False)
    assert again.samples.values.equal(study.drawn.samples.values)
    assert not again.samples.quantised
    assert again.objective.levels is None
    fewer = draw(model, objective, 20, tmp_path / "drawn", progress=False)
    assert fewer.samples.values.equal(again.samples.values[:20])
    with pytest.raises(ValueError, match="another model or seed"):
        draw(model, objective, 20, tmp_path / "drawn", seed=1, progress=False)


def test_draws_that_the_flow_cannot_bring_back_are_left_out(tmp_path):
    model = fm.models.build("glow", "tiny", (1, 8, 8)).eval()
    inverse = model.inverse

    def exploding(latents):
        x = inverse(latents)
        x[::10] *= 1e8
        return x

    model.inverse = exploding
    made = draw(model, standard_objective(model), 120, tmp_path, progress=False)
    assert len(made.samples) == 120
    assert made.samples.values.abs().max() < 1e4
    assert "/0" not in {i[-2:] for i in made.samples.ids if len(i.split("/")[1]) == 1}
    assert "14 of 134 left out" in made.how
    model.inverse = lambda latents: inverse(latents) * torch.inf
    with pytest.raises(ValueError, match="only 0 of 120 samples"):
        draw(model, standard_objective(model), 120, tmp_path / "other", progress=False)


def test_timesteps(tmp_path, monkeypatch):
    from fimetric.claims import timesteps as module

    monkeypatch.setattr(module, "TIMES", (0, 31))
    monkeypatch.setattr(module, "SEVERAL", (31,))
    monkeypatch.setattr(module, "DRAWS", 2)
    study = replace(study_of("diffusion", tmp_path, drawn=False), limit=30)
    (found,) = analyse(study, tmp_path, ["timesteps"])
    assert [p.file for p in found.pictures] == ["timesteps.png", "draws.png", "layers.png"]
    assert len(found.tables) == 2
    assert found.tables[0].rows[-1][0] == "all, side by side"
