"""What all reference models have in common, and the folder they are kept in."""

import json

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.killing import Killed, killing
from tests.models.examples import example

from fimetric.models import FAMILIES, build, build_for, kind_of, load, save
from fimetric.models.folder import describe, write

SHAPE = (1, 8, 8)
OTHER = {"channels": (16, 32), "latent": 8, "likelihood": "gaussian"}


@pytest.fixture(params=FAMILIES)
def model(request):
    return build_for(request.param, "tiny", example(request.param)).eval()


def taken(model, n: int = 3) -> torch.Tensor:
    return model.taken(example(kind_of(model), n), range(n))


def test_losses_bits_and_samples_have_their_shapes_and_follow_the_generator(model):
    x = taken(model)
    for name in ("training_losses", "bits_per_dim"):
        generator = torch.Generator().manual_seed(1)
        first = getattr(model, name)(x, generator)
        draws = not torch.equal(generator.get_state(), torch.Generator().manual_seed(1).get_state())
        again = getattr(model, name)(x, torch.Generator().manual_seed(1))
        other = getattr(model, name)(x, torch.Generator().manual_seed(2))
        assert first.shape == (3,) and first.isfinite().all()
        assert torch.equal(first, again) and torch.equal(first, other) != draws
    drawn = model.sample(2, torch.Generator().manual_seed(1))
    assert not drawn.requires_grad  # or the graphs of all draws are held
    shape = model.noised if kind_of(model) == "spectrogram" else model.shape
    assert drawn.shape == (2, *shape) and drawn.isfinite().all()
    if FAMILIES[kind_of(model)].samples == "images":
        assert torch.equal((drawn * 255).round() / 255, drawn)  # 8-bit, within [0, 1]
        assert drawn.min() >= 0 and drawn.max() <= 1


def test_no_call_changes_the_model_in_evaluation_mode(model):
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.training_losses(taken(model), torch.Generator()).sum().backward()
    model.bits_per_dim(taken(model), torch.Generator())
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_weights_come_from_the_seed_alone(model):
    kind = kind_of(model)
    state = torch.get_rng_state()
    a, b, other = (build_for(kind, "tiny", example(kind), seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), state)
    same = [torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True)]
    assert all(same)
    assert any(
        not torch.equal(p, q) for p, q in zip(a.parameters(), other.parameters(), strict=True)
    )


@pytest.mark.parametrize("name", ["tiny", "small", "paper"])
def test_every_configuration_can_be_built(model, name):
    if (kind_of(model), name) == ("glow", "paper"):
        pytest.skip("44 M parameters; built in test_glow.py")
    shape = model.shape if name == "tiny" or len(model.shape) == 1 else (1, 32, 32)
    assert build(kind_of(model), name, shape).config == model.CONFIGS[name]


def test_a_saved_model_is_the_same_model(model, tmp_path):
    save(model, tmp_path / "m")
    found = load(tmp_path / "m")
    assert type(found) is type(model) and found.config == model.config and not found.training
    a = model.bits_per_dim(taken(model), torch.Generator().manual_seed(0))
    assert torch.equal(found.bits_per_dim(taken(model), torch.Generator().manual_seed(0)), a)
    with pytest.raises(FileExistsError, match="overwrite"):
        save(model, tmp_path / "m")
    save(model, tmp_path / "m", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m"]


@pytest.fixture
def folder(tmp_path):
    save(build("vae", "tiny", SHAPE), tmp_path / "m")
    return tmp_path / "m"


def first_version(folder, **changes) -> None:
    """Make of a folder one of the first version, without checksums, and change its description."""
    about = msgspec.structs.asdict(describe(folder))
    text = json.dumps({"version": 1, **about, **changes})
    (folder / "config.json").write_text(text)
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")


HOSTILE = [
    ({"version": 99}, "of version 99, this fimetric reads version 2"),
    ({"version": "1"}, "of version '1', this fimetric reads version 2"),
    ({"kind": "gan"}, "unknown kind of model 'gan'"),
    ({"kind": None}, "Expected `str`, got `null`"),
    ({"shape": [1, 9, 9]}, "describes no model"),
    ({"shape": [1, 8]}, "shape must be .channels, height, width., got .1, 8."),
    ({"shape": 3}, r"config\.json is damaged"),
    ({"shape": [1, -8, 8]}, "shape must be"),
    ({"shape": [1, 8, 2**70]}, r"config\.json describes no model"),
    ({"config": []}, r"config\.json is damaged"),
    ({"config": {"depth": 3}}, "no setting 'depth'"),
    ({"config": {"latent": 9, "channels": [16, 32]}}, r"has shape .*config\.json says"),
    ({"config": {"channels": [16]}}, "does not fit"),
    ({"config": {"channels": 7}}, "Expected `array`, got `int`"),
    ({"config": {"channels": ["16"]}}, "Expected `int`, got `str`"),
    ({"config": {"channels": [16, -32]}}, "channels must be from 1 to 1,000,000, got -32"),
    ({"config": {"latent": 10**12}}, "latent must be from 1"),
    ({"config": {"latent": 900_000, "channels": [900_000, 900_000]}}, "does not fit"),
    ({"config": {"latent": 8.0}}, "Expected `int`, got `float`"),
    ({"config": {"likelihood": "poisson"}}, "Invalid enum value 'poisson'"),
    (
        {"kind": "glow", "config": {"steps": 10**6, "levels": 3}},
        r"describes no model: it has more than 10\d\d tensors",
    ),
    ({"kind": "glow", "config": {"logit": True}}, "Expected `float`, got `bool`"),
    ({"kind": "diffusion", "config": {"timesteps": 10**10}}, "timesteps must be from 1"),
    ({"kind": "diffusion", "config": {"channels": [1, 1], "groups": 1}}, "describes no model"),
]


@pytest.mark.parametrize(("changes", "words"), HOSTILE)
def test_descriptions_that_do_not_fit_are_refused(folder, changes, words):
    first_version(folder, **changes)
    with pytest.raises(ValueError, match=words) as error:
        load(folder)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "3",
        "",
        "[" * 100_000,
        '{"version": 1}',
        '{"a": 1e999}',
        '{"version": NaN}',
        "\xff",
    ],
)
def test_what_is_no_description_is_refused(folder, text):
    (folder / "config.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"m/config\.json is .*(save|train) "):
        load(folder)


def test_a_model_of_the_first_version_is_read(folder):
    new = load(folder)
    first_version(folder)
    old = load(folder)
    assert old.config == new.config and not old.training
    for a, b in zip(new.state_dict().values(), old.state_dict().values(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_any_flipped_bit_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    meaningful = [i for i, byte in enumerate(whole) if not chr(byte).isspace()]
    for place in np.random.default_rng(0).choice(meaningful, size=60):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        (folder / name).write_bytes(flipped)
        with pytest.raises(ValueError, match=f"m/{name} "):
            load(folder)


def test_weights_without_their_checksum_are_refused(folder):
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged .it has no checksum"):
        load(folder)


def test_a_kill_never_leaves_weights_under_another_description(tmp_path):
    old, new = build("vae", "tiny", SHAPE, seed=1), build("vae", OTHER, SHAPE, seed=2)
    outcomes = set()
    for at in range(1, 30):
        folder = tmp_path / str(at)
        write(old, folder)
        try:
            with killing(at):
                write(new, folder)
        except Killed:
            pass
        else:
            break
        try:
            found = load(folder)
        except FileNotFoundError:
            outcomes.add("none")
        else:
            (whole,) = (m for m in (old, new) if m.config == found.config)
            assert torch.equal(found.to_latent.weight, whole.to_latent.weight)
            outcomes.add("old" if whole is old else "new")
        write(new, folder)
        assert load(folder).config == new.config
        assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert "none" in outcomes and "new" in outcomes


def test_damaged_files_are_refused(folder):
    weights = (folder / "model.safetensors").read_bytes()
    for damaged in (weights[: len(weights) // 2], weights[:5], b"", b"\x80\x04pickled"):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
            load(folder)


def test_missing_and_meaningless_tensors_are_refused(folder):
    first_version(folder)
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    save_file({k: v for k, v in tensors.items() if k != name}, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"1 tensors missing.*{name}"):
        load(folder)
    tensors[name] = torch.full_like(tensors[name], torch.nan)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=f"{name} has values that are not finite"):
        load(folder)


def test_folders_without_a_model(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        load(tmp_path)
    (tmp_path / "model.pt").write_bytes(b"?")
    with pytest.raises(ValueError, match="pickled models are not read"):
        load(tmp_path / "model.pt")


def test_unknown_names():
    with pytest.raises(ValueError, match="known are vae, glow, diffusion"):
        build("gan", "tiny", SHAPE)
    with pytest.raises(ValueError, match="known are tiny, small, paper"):
        build("vae", "huge", SHAPE)
    with pytest.raises(ValueError, match="channels, height, width"):
        build("vae", "tiny", (8, 8))
    with pytest.raises(ValueError, match="a dictionary or a VAEConfig, got int"):
        build("vae", 3, SHAPE)
    with pytest.raises(TypeError, match="Linear is no reference model"):
        kind_of(torch.nn.Linear(2, 2))
