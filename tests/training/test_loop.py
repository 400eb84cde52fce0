"""A run learns, resumes to the same bits, and says what is wrong."""

import csv
import json
import logging

import pytest
import torch
from tests.models.examples import example

from fimetric.data import Samples, load
from fimetric.data.codes import gaussian_bits_per_dim
from fimetric.models import FAMILIES, VAE, build, build_for
from fimetric.models import load as load_model
from fimetric.training import loop as training
from fimetric.training import train
from fimetric.training.checkpoint import STATE
from fimetric.training.recipes import recipe_for
from fimetric.training.run import Run
from fimetric.training.seeds import indices

SHAPE = (1, 8, 8)
TINY = {
    "vae": {"channels": (4,), "latent": 3},
    "glow": {"steps": 1, "levels": 1, "hidden": 6},
    "diffusion": {"channels": (4,), "groups": 2, "attention": False, "timesteps": 10},
    "flow-matching": {"channels": (4,), "groups": 2, "attention": False},
    "pixelcnn": {"layers": 1, "hidden": 4, "mixtures": 2},
    "wavenet": {"depth": 2, "hidden": 4, "skip": 4},
    "spectrogram": {"channels": (4,), "groups": 2, "attention": False, "timesteps": 10},
    "transformer": {"layers": 1, "width": 8, "heads": 2, "context": 32, "vocabulary": 280},
    "nsf": {"transforms": 1, "layers": 1, "hidden": 4, "bins": 2},
}


@pytest.fixture
def digits() -> Samples:
    return load("digits", "train", limit=100)


def run(kind, data, folder, **settings):
    torch.manual_seed(id(folder) % 1000)  # the result must not depend on the global generator
    if isinstance(data, Samples):
        model = build_for(kind, TINY[kind], data)
    else:
        model = build(kind, TINY[kind], SHAPE)
    settings = {"steps": 9, "batch_size": 32, "validate_every": 3, "warmup": 2, **settings}
    return model, train(model, data, folder, progress=False, **settings)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_killed_run_resumes_to_the_same_bits(kind, tmp_path, monkeypatch):
    data = example(kind, 100)
    whole, expected = run(kind, data, tmp_path / "whole")
    step, done = training._step, []

    def dying(run, x):
        done.append(run.step)
        if len(done) == 6:  # in step 5, after the checkpoint of step 3
            raise Killed
        return step(run, x)

    monkeypatch.setattr(training, "_step", dying)
    with pytest.raises(Killed):
        run(kind, data, tmp_path / "killed")
    resumed, found = run(kind, data, tmp_path / "killed")
    assert done == [0, 1, 2, 3, 4, 5, 3, 4, 5, 6, 7, 8]
    assert found == expected
    for name in ("model.safetensors", "log.csv", "checkpoint/state.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes(), name
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_loss_is_per_dimension(tmp_path):
    same = Samples(example("pixelcnn", 1).values.expand(20, *SHAPE))  # any batch has this loss
    before = build("pixelcnn", TINY["pixelcnn"], SHAPE)
    with torch.no_grad():
        expected = before.training_losses(same.tensor([0]), None).item() / 64
    _, history = run("pixelcnn", same, tmp_path / "m", steps=1, validate_every=1)
    assert history.rows[0]["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_seed_changes_the_run(digits, tmp_path):
    _, a = run("vae", digits, tmp_path / "a")
    _, b = run("vae", digits, tmp_path / "b", seed=1)
    assert a.best != b.best


@pytest.mark.parametrize(("kind", "steps"), [("vae", 150), ("glow", 40)])
def test_training_beats_the_gaussian_or_at_least_the_start(kind, steps, tmp_path):
    data = load("digits", "train", limit=600)
    model = build(kind, "tiny", SHAPE)
    history = train(
        model,
        data,
        tmp_path / "m",
        steps=steps,
        validate_every=steps // 2,
        warmup=10,
        progress=False,
        ema=0.9,
    )
    assert history.rows[-1]["bits_per_dim"] < history.rows[0]["bits_per_dim"]
    assert history.rows[-1]["loss"] < history.rows[0]["loss"]
    bound = gaussian_bits_per_dim(data, load("digits", "test"))
    assert history.best < bound + (0 if kind == "vae" else 1)


def test_the_folder_is_the_best_model_with_its_log(digits, tmp_path):
    model, history = run("vae", digits, tmp_path / "m")
    found = load_model(tmp_path / "m")
    assert not model.training
    for a, b in zip(model.state_dict().values(), found.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    rows = list(csv.DictReader((tmp_path / "m" / "log.csv").read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [3, 6, 9]
    assert min(float(row["bits_per_dim"]) for row in rows) == history.best
    assert not [p for p in (tmp_path / "m").iterdir() if p.name.startswith(".")]


def test_the_best_average_is_kept_and_patience_ends_the_run(digits, tmp_path, monkeypatch, caplog):
    values = iter([3.0, 2.0, 4.0, 5.0, 1.0])
    monkeypatch.setattr(
        "fimetric.models.vae.VAE.bits_per_dim",
        lambda self, x, g: torch.full((len(x),), next(values)),
    )
    with caplog.at_level(logging.INFO):
        _, history = run("vae", digits, tmp_path / "m", patience=2, steps=15)
    assert (history.best, history.best_step) == (2.0, 6)
    assert [row["step"] for row in history.rows] == [3, 6, 9, 12]
    assert "no better for 2 validations: stopped at step 12" in caplog.text


def test_a_finished_run_is_not_trained_again(digits, tmp_path, monkeypatch):
    _, first = run("vae", digits, tmp_path / "m")
    monkeypatch.setattr(training, "_step", lambda *a: pytest.fail("a step was done"))
    model, again = run("vae", digits, tmp_path / "m")
    assert again == first and not model.training


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"seed": 5}, "seed was 0, now 5"),
        ({"steps": 12}, "steps was 9, now 12"),
        ({"lr": 1.0}, "lr"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(digits, tmp_path, settings, word):
    run("vae", digits, tmp_path / "m")
    with pytest.raises(ValueError, match=f"of another run: {word}"):
        run("vae", digits, tmp_path / "m", **settings)


def test_a_checkpoint_of_other_data_or_damaged_is_refused(digits, tmp_path):
    run("vae", digits, tmp_path / "m")
    with pytest.raises(ValueError, match="of another run: data"):
        run("vae", load("letters", "train", limit=100), tmp_path / "m")
    with pytest.raises(FileExistsError, match="holds a run already"):
        run("vae", digits, tmp_path / "m", resume=False)
    state = tmp_path / "m" / "checkpoint" / "state.safetensors"
    whole = state.read_bytes()
    state.write_bytes(whole[:1000])
    with pytest.raises(ValueError, match=r"is damaged.*remove the folder"):
        run("vae", digits, tmp_path / "m")
    state.write_bytes(whole)
    about = state.with_suffix(".json")
    about.write_text(json.dumps({**json.loads(about.read_text()), "version": 7}))
    with pytest.raises(ValueError, match=r"version 7.*remove the folder checkpoint"):
        run("vae", digits, tmp_path / "m")


def test_a_loss_that_is_not_finite_stops_with_the_step(digits, tmp_path, monkeypatch):
    real = VAE.training_losses
    calls = []

    def sometimes(self, x, generator):
        calls.append(1)
        return real(self, x, generator) * (torch.nan if len(calls) == 5 else 1)

    monkeypatch.setattr(VAE, "training_losses", sometimes)
    with pytest.raises(RuntimeError, match="in step 4 the loss is nan"):
        run("vae", digits, tmp_path / "m")
    assert STATE.read(tmp_path / "m/checkpoint")[0].step == 3


def test_an_interrupt_says_where_the_run_stands(digits, tmp_path, monkeypatch, caplog):
    step = training._step

    def interrupted(run, x):
        if run.step == 4:
            raise KeyboardInterrupt
        return step(run, x)

    monkeypatch.setattr(training, "_step", interrupted)
    with caplog.at_level(logging.WARNING), pytest.raises(KeyboardInterrupt):
        run("vae", digits, tmp_path / "m")
    assert "stopped in step 4" in caplog.text and "the checkpoint of step 3" in caplog.text
    load_model(tmp_path / "m")


def test_any_data_are_taken_and_validation_may_be_given(digits, tmp_path):
    pairs = torch.utils.data.TensorDataset(digits.tensor(), torch.zeros(100))
    _, history = run("vae", pairs, tmp_path / "a", validation=digits.select(range(20)))
    assert len(history.rows) == 3
    with pytest.raises(ValueError, match=r"shape \(1, 8, 8\), the model takes \(1, 4, 4\)"):
        train(build("vae", TINY["vae"], (1, 4, 4)), digits, tmp_path / "b", steps=1)
    with pytest.raises(ValueError, match=r"outside \[0, 1\]"):
        run("vae", digits.tensor() * 255, tmp_path / "c")
    with pytest.raises(ValueError, match="2 at least"):
        run("vae", digits.select([0]), tmp_path / "d")


@pytest.mark.parametrize(
    ("rows", "given", "parts"),
    [
        (4, None, (3, 1)),
        (97, None, (78, 19)),
        (98, None, None),
        (30, 19, (30, 19)),
        (4, 20, None),
    ],
)
def test_few_held_out_samples_are_told_of(rows, given, parts, tmp_path, caplog):
    data = Samples(torch.randn(rows, 3), name="few")
    validation = None if given is None else torch.randn(given, 3)
    run("nsf", data, tmp_path, steps=1, validation=validation)
    said = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    if parts is None:
        assert not said
    else:
        [line] = said
        trained, held = parts
        assert line.startswith(f"few: {trained} samples are trained on and {held} held out; bits")


def test_held_out_images_are_never_trained_on(digits, tmp_path, monkeypatch):
    seen: dict[str, list] = {"fit": [], "held": []}
    for name, key in (("training_losses", "fit"), ("bits_per_dim", "held")):
        real = getattr(VAE, name)

        def spy(self, x, g, real=real, key=key):
            seen[key] += [tuple((v * 255).round().int().flatten().tolist()) for v in x]
            return real(self, x, g)

        monkeypatch.setattr(VAE, name, spy)
    run("vae", digits, tmp_path / "m")
    assert len(set(seen["held"])) == 5 and not set(seen["fit"]) & set(seen["held"])


@pytest.mark.parametrize(
    "bad",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"lr": -1.0},
        {"ema": 1.0},
        {"optimiser": "sgd"},
        {"patience": 0},
    ],
)
def test_settings_out_of_range(digits, tmp_path, bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        run("vae", digits, tmp_path / "m", **bad)


def test_the_order_visits_every_sample_once_in_an_epoch():
    steps = [indices(3, step, 7, 20) for step in range(20)]  # seven epochs
    places = torch.cat(steps)
    assert all(sorted(part.tolist()) == list(range(20)) for part in places.split(20))
    assert not torch.equal(places[:20], places[20:40])
    assert torch.equal(indices(3, 11, 7, 20), steps[11])
    assert sorted(indices(0, 0, 50, 20).tolist())[:5] == [0, 0, 1, 1, 2]


def test_the_rate_rises_and_falls():
    recipe = recipe_for("vae", steps=1000, warmup=100, lr=1.0)
    rates = [recipe.rate(step) for step in range(1000)]
    assert rates[0] == 0.01 and rates[99] == 1.0 and max(rates) == 1.0
    assert rates[99:] == sorted(rates[99:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, abs=1e-4)


def test_the_average_follows_the_weights(digits, tmp_path):
    state = Run(build("vae", TINY["vae"], SHAPE), recipe_for("vae", steps=1, ema=0.5))
    state.step = 10_000  # past the growth of the decay
    before = state.average["to_latent.weight"].clone()
    with torch.no_grad():
        state.model.to_latent.weight += 2
    state.update_average()
    torch.testing.assert_close(state.average["to_latent.weight"], before + 1)
    with state.averaged() as model:
        assert torch.equal(model.to_latent.weight, state.average["to_latent.weight"])
    torch.testing.assert_close(state.model.to_latent.weight, before + 2)
