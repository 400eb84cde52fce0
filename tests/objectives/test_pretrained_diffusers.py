"""Folders that diffusers has saved, opened by path, against the library's own parts."""

import json
import logging
import shutil
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EDMEulerScheduler
from diffusers import FlowMatchEulerDiscreteScheduler as Flow
from torch import Tensor

from fimetric import Detector, extract
from fimetric.data import batches
from fimetric.fingerprint.model import model_fingerprint
from fimetric.noise import fixed_noise
from fimetric.objectives import from_pretrained
from objectives import saved_diffusers as saved

T = 7
LABELS, PROMPTS = [2, 0, 1], ["a red cat", "dog", ""]
NO_WORDS = [""] * 3


def unconditional(parts: Any, z: Tensor, t: Tensor) -> Tensor:
    return parts.unet(z, t).sample


def by_class(parts: Any, z: Tensor, t: Tensor, labels: Any = LABELS) -> Tensor:
    labels = torch.tensor(labels[: len(z)])
    if hasattr(parts, "transformer"):
        return parts.transformer(z, timestep=t, class_labels=labels).sample[:, : z.shape[1]]
    return parts.unet(z, t, class_labels=labels).sample


def by_prompt(parts: Any, z: Tensor, t: Tensor, prompts: Any = PROMPTS) -> Tensor:
    words = parts.encode_prompt(prompts, "cpu", 1, False)[0]
    return parts.unet(z, t, encoder_hidden_states=words).sample


def by_three(parts: Any, z: Tensor, t: Tensor, prompts: Any = PROMPTS) -> Tensor:
    words, _, pooled, _ = parts.encode_prompt(
        prompts, None, None, do_classifier_free_guidance=False
    )
    told = {"encoder_hidden_states": words, "pooled_projections": pooled}
    return parts.transformer(z, timestep=t, **told).sample


@dataclass
class Case:
    """A pipeline, how its denoiser is called by hand, and the column that it is told."""

    make: Callable[[], Any]
    call: Callable[..., Tensor]
    told: dict[str, Any] | None = None
    size: int = 16


def pixels(scheduler: Any = DDPMScheduler, **settings: Any) -> Callable[[], Any]:
    def make() -> Any:
        made = saved.pixels(**settings)
        made.register_modules(scheduler=scheduler(saved.STEPS))
        return made

    return make


def predicting(what: str) -> Callable[[int], Any]:
    return lambda steps: DDIMScheduler(steps, prediction_type=what)


CASES = {
    "unconditional": Case(pixels(), unconditional, size=8),
    "sample": Case(pixels(predicting("sample")), unconditional, size=8),
    "v": Case(pixels(predicting("v_prediction")), unconditional, size=8),
    "learned variance": Case(pixels(out_channels=6), lambda *a: unconditional(*a)[:, :3], size=8),
    "not centred": Case(pixels(center_input_sample=True), unconditional, size=8),
    "flow": Case(pixels(Flow), unconditional, size=8),
    "class": Case(pixels(num_class_embeds=3), by_class, {"label": LABELS}, size=8),
    "dit": Case(saved.dit, by_class, {"label": LABELS}),
    "dit, no class": Case(saved.dit, lambda *a: by_class(*a, [5] * 3)),
    "prompt": Case(saved.stable_diffusion, by_prompt, {"prompt": PROMPTS}),
    "prompt, none": Case(saved.stable_diffusion, lambda *a: by_prompt(*a, NO_WORDS[: len(a[1])])),
    "sd3": Case(saved.stable_diffusion_3, by_three, {"prompt": PROMPTS}),
    "sd3 with t5": Case(lambda: saved.stable_diffusion_3(True), by_three, {"prompt": PROMPTS}),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("diffusers")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_: Any) -> None:
        raise AssertionError("a folder on this machine makes no network call")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def folder_of(home: Path, name: str) -> Path:
    """Return the folder of a case, which is saved once."""
    folder = home / name
    if not folder.exists():
        CASES[name].make().save_pretrained(folder)
    return folder


def x_of(size: int, number: int = 3) -> Tensor:
    return torch.rand(number, 3, size, size, generator=torch.Generator().manual_seed(1)).double()


def by_hand(case: Case, x: Tensor, seed: int) -> Tensor:
    """Return the losses (N,) by the scheduler's own noise, the encoder's own mean."""
    parts = case.make().to(torch.float64)
    config = parts.scheduler.config
    centred = not getattr(getattr(parts, "unet", parts).config, "center_input_sample", False)
    z = 2 * x - 1 if centred else x
    vae = getattr(parts, "vae", None)
    if vae is not None:
        mean = vae.encode(z).latent_dist.mean
        z = (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
    eps = fixed_noise(seed, f"t={T}/draw=0", z.shape[1:], z, "normal")
    if isinstance(parts.scheduler, Flow):
        steps = torch.full((len(z),), T + 1.0)
        noisy, target = Flow(saved.STEPS).scale_noise(z, steps, eps), eps - z
    else:
        steps = torch.full((len(z),), T)
        noisy = parts.scheduler.add_noise(z, eps, steps)
        target = {
            "epsilon": eps,
            "sample": z,
            "v_prediction": parts.scheduler.get_velocity(z, eps, steps),
        }[config.prediction_type]
    return (target - case.call(parts, noisy, steps)).square().flatten(1).sum(1)


@pytest.mark.parametrize("name", CASES)
def test_losses_and_norms_of_a_folder_are_those_of_the_librarys_parts(name, home):
    case, x = CASES[name], x_of(CASES[name].size)
    column = next(iter(case.told or ()), None)
    path = folder_of(home, name)
    objective = from_pretrained(path, [T], seed=3, condition=column, dtype="float64")
    assert objective.opened.shape == (3, case.size, case.size)
    data = {"x": x, **(case.told or {})}
    [batch] = map(objective.conditioned, batches(data, 3))
    losses = objective(batch.x)
    # the scheduler's own square roots are in float32
    torch.testing.assert_close(losses, by_hand(case, x, 3), rtol=1e-5, atol=1e-5)
    assert_exact(objective, data, batch)


def assert_exact(objective: Any, data: Any, batch: Any) -> None:
    """Assert that losses and norms of a batch are those of each sample alone."""
    table = extract(objective, data, batch_size=3, progress=False)
    squares = torch.from_numpy(table.values).exp()
    parameters = list(objective.module.parameters())
    for n in range(3):
        alone = objective(batch.cut(n, n + 1).x)
        torch.testing.assert_close(alone[0], objective(batch.x)[n], rtol=1e-9, atol=0)
        found = torch.autograd.grad(alone[0], parameters, allow_unused=True)
        norms = [alone.new_zeros(()) if g is None else g.square().sum() for g in found]
        torch.testing.assert_close(torch.stack(norms), squares[n], rtol=1e-5, atol=1e-20)


def opened(home: Path, name: str, **settings: Any) -> Any:
    return from_pretrained(folder_of(home, name), [T], **settings)


def test_an_autoencoder_alone_is_a_density(home):
    saved.autoencoder().save_pretrained(home / "vae")
    objective = from_pretrained(home / "vae", draws=2, seed=3, dtype="float64")
    assert objective.opened.shape == objective.spec.shape == (3, 16, 16)
    vae, x = saved.autoencoder().double(), x_of(16)
    posterior = vae.encode(2 * x - 1).latent_dist
    for k in (0, 1):
        eps = fixed_noise(3, f"draw={k}", (4, 8, 8), x, "normal")
        decoder = torch.distributions.Normal(vae.decode(posterior.mean + posterior.std * eps)[0], 1)
        expected = posterior.kl() - decoder.log_prob(2 * x - 1).flatten(1).sum(1)
        torch.testing.assert_close(objective.losses(f"draw={k}", x), expected, rtol=1e-9, atol=0)
    [batch] = batches(x, 3)
    assert_exact(from_pretrained(home / "vae", dtype="float64"), x, batch)


@pytest.mark.parametrize("flat", [False, True])
def test_a_denoiser_and_its_scheduler_need_no_pipeline(flat, home, tmp_path):
    saved.unet().save_pretrained(tmp_path / ("" if flat else "unet"))
    DDPMScheduler(saved.STEPS).save_pretrained(tmp_path / ("" if flat else "scheduler"))
    x = x_of(8).float()
    found = from_pretrained(tmp_path)
    assert found.timesteps == (0, 5, 30)  # 0, 5% and 30% of the schedule
    there = from_pretrained(folder_of(home, "unconditional"))
    assert torch.equal(found(x), there(x))


def test_an_early_dit_is_saved_under_another_name(home, tmp_path):
    path = shutil.copytree(folder_of(home, "dit"), tmp_path / "dit")
    edited(path / "transformer/config.json", _class_name="Transformer2DModel")
    x = x_of(16).float()
    assert torch.equal(from_pretrained(path, [T])(x), opened(home, "dit")(x))


@pytest.mark.parametrize(
    ("name", "column", "values"), [("class", "label", [0, 1, 2]), ("prompt", "caption", PROMPTS)]
)
def test_a_detector_is_fitted_on_pictures_with_a_column(name, column, values, home, tmp_path):
    x, told = x_of(CASES[name].size, 30).float(), values * 10
    detector = Detector(opened(home, name, condition=column), batch_size=16)
    detector.fit({"x": x[:24], column: told[:24]}).save(tmp_path / "detector")
    again = Detector.load(tmp_path / "detector", opened(home, name, condition=column))
    right, wrong = (
        each.score({"x": x[24:], column: told[at : at + 6]})
        for each, at in ((detector, 24), (again, 23))
    )
    assert (again.score({"x": x[24:], column: told[24:]}) == right).all()
    assert right.shape == (6,) and not (right == wrong).any()
    with pytest.raises(ValueError, match=f"told the column '{column}'[^;]*have none beside them"):
        detector.score(x[24:])


def test_frozen_parts_are_hashed_and_stay_as_they_are(home):
    objective = opened(home, "prompt", condition="prompt")
    before = model_fingerprint(objective)
    assert model_fingerprint(opened(home, "prompt", condition="prompt")) == before
    frozen = [objective.teller, objective.encoder]
    assert not any(p.requires_grad for part in frozen for p in part.parameters())
    assert not any(part.training for f in [*frozen] for part in objective.train() and f.modules())
    for part in frozen:
        weight = next(part.parameters())
        weight.data[0] += 1
        assert model_fingerprint(objective) != before
        weight.data[0] -= 1


def test_other_levels_of_noise_are_another_objective(home, tmp_path):
    path = shutil.copytree(folder_of(home, "unconditional"), tmp_path / "moved")
    assert model_fingerprint(from_pretrained(path, [T])) == model_fingerprint(
        opened(home, "unconditional")
    )
    DDPMScheduler(saved.STEPS, beta_end=0.03).save_pretrained(path / "scheduler")
    changed, before = from_pretrained(path, [T]), opened(home, "unconditional")
    assert changed.describe() != before.describe()
    assert model_fingerprint(changed) != model_fingerprint(before)


def test_a_coarse_model_has_fine_losses_and_a_fine_encoder(home):
    coarse, fine = (
        opened(home, "prompt", dtype=dtype, parameters="*attn2*") for dtype in ("bfloat16", None)
    )
    x = x_of(16).float()
    assert coarse.encoder.vae.dtype == torch.float32 and coarse.module.dtype == torch.bfloat16
    assert coarse(x).dtype == torch.float32
    torch.testing.assert_close(coarse(x), fine(x), rtol=0.05, atol=0)
    names = [name for name, p in coarse.module.named_parameters() if p.requires_grad]
    assert names and all("attn2" in name for name in names)


def test_what_is_told_without_a_condition_is_said_once(home, caplog):
    with caplog.at_level(logging.WARNING, "fimetric"):
        objective = opened(home, "prompt")
        objective(x_of(16).float())
    assert [r.message for r in caplog.records if r.name.startswith("fimetric")] == [
        f"{folder_of(home, 'prompt')} is told the empty prompt of each sample; condition='prompt' "
        "tells it the column of that name"
    ]


def test_a_prompt_that_is_too_long_is_cut_as_the_pipeline_cuts_it(home, caplog):
    objective = opened(home, "prompt", condition="prompt")
    long = "a very long prompt of many letters"
    with caplog.at_level(logging.WARNING, "fimetric"):
        first, second = (objective.tell([long, "dog"]) for _ in range(2))
    said = [r.message for r in caplog.records if r.name.startswith(("fimetric", "transformers"))]
    assert said == ["a prompt of 30 tokens is cut to 12, all that the model reads; so are others"]
    expected = CASES["prompt"].make().encode_prompt([long, "dog"], "cpu", 1, False)[0]
    for told_of in (first, second):
        torch.testing.assert_close(told_of["encoder_hidden_states"], expected)


def edited(file: Path, **entries: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **entries}))


def without_a_tensor(file: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(file)
    del weights["conv_in.bias"]
    save_file(weights, file)


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    saved.unet().save_pretrained(folder / "unet", safe_serialization=False)


def without_denoiser(folder: Path) -> None:
    shutil.rmtree(folder / "transformer")
    (folder / "model_index.json").rename(folder / "scheduler_config.json")


def told(objective: Any, **columns: Any) -> Any:
    return extract(objective, {"x": x_of(objective.spec.shape[1], 2), **columns}, progress=False)


WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
Damage = Callable[[Path], Any]
DAMAGES: dict[str, tuple[str, Damage, str]] = {
    "no scheduler": ("unconditional", lambda f: shutil.rmtree(f / "scheduler"),
     r"has no scheduler, which says what noise.*save_pretrained\(\S*/model/scheduler\)"),
    "an empty scheduler": ("unconditional",
     lambda f: (f / "scheduler/scheduler_config.json").unlink(),
     r"has no scheduler.*save_pretrained\(\S*/model/scheduler\)"),
    "a layer more than its config says": ("prompt",
     lambda f: edited(f / "text_encoder/config.json", num_hidden_layers=1), "has no place for: "),
    "a text encoder of another width": ("prompt",
     lambda f: edited(f / "text_encoder/config.json", intermediate_size=20),
     "weights have .* of shape"),
    "a scheduler of another library": ("unconditional",
     lambda f: edited(f / "scheduler/scheduler_config.json", _class_name="UNet2DModel"),
     "names no scheduler of diffusers"),
    "levels of no known kind": ("unconditional",
     lambda f: EDMEulerScheduler().save_pretrained(f / "scheduler"),
     "EDMEulerScheduler has no alphas_cumprod"),
    "weights cut short": ("unconditional",
     lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-99]), "cannot be opened"),
    "weights of another model": ("unconditional",
     lambda f: edited(f / "unet/config.json", block_out_channels=[16]), "cannot be opened"),
    "a tensor missing": ("unconditional", lambda f: without_a_tensor(f / WEIGHTS),
     "unet has no weights for conv_in.bias, which would be random"),
    "pickled weights": ("unconditional", pickled,
     r"no weights in safetensors, but diffusion_pytorch_model.bin, which may run code"),
    "an upscaler": ("unconditional",
     lambda f: edited(f / "model_index.json", _class_name="StableDiffusionUpscalePipeline"),
     "a pipeline of the kind 'StableDiffusionUpscalePipeline'.*known are DDPMPipeline"),
    "code of its own": ("unconditional",
     lambda f: edited(f / "model_index.json", _class_name=["mine", "Pipeline"]),
     r"a pipeline of the kind \['mine', 'Pipeline'\]"),
    "a broken index": ("unconditional", lambda f: (f / "model_index.json").write_text("{"),
     "model_index.json is damaged: it is no JSON"),
    "a control net": ("unconditional",
     lambda f: edited(f / "unet/config.json", _class_name="ControlNetModel"),
     "holds a ControlNetModel, where one of UNet2DModel"),
    "an inpainter": ("unconditional",
     lambda f: saved.unet(in_channels=6).save_pretrained(f / "unet"),
     "takes 6 channels and predicts 3, so it sees another picture"),
    "an autoencoder of another model": ("dit",
     lambda f: saved.autoencoder(latent_channels=3).save_pretrained(f / "vae"),
     "latents of 3 channels and its denoiser takes 4"),
    "latents scaled by channel": ("dit",
     lambda f: edited(f / "vae/config.json", latents_mean=[0.0] * 4),
     "latents_mean: it scales latents by channel"),
    "a unet told more": ("prompt",
     lambda f: saved.prompted_unet(num_class_embeds=3).save_pretrained(f / "unet"),
     "has num_class_embeds=3, so it is told more"),
    "no text encoder": ("prompt", lambda f: shutil.rmtree(f / "text_encoder"),
     "told prompts, and text_encoder/ is"),
    "an unknown text encoder": ("prompt",
     lambda f: edited(f / "model_index.json", text_encoder=["transformers", "GemmaModel"]),
     "text_encoder/ is GemmaModel; save"),
    "damaged words": ("prompt",
     lambda f: (f / "text_encoder/model.safetensors").write_bytes(b"no"), "cannot be opened"),
    "no denoiser": ("dit", without_denoiser, r"holds no denoiser \(vae, scheduler alone\)"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGES)
def test_folders_that_cannot_be_opened_say_why(what, home, tmp_path):
    name, damage, message = DAMAGES[what]
    folder = shutil.copytree(folder_of(home, name), tmp_path / "model")
    damage(folder)
    with pytest.raises(ValueError, match=message):
        from_pretrained(folder)


Call = Callable[[Path], Any]
ROWS: dict[str, tuple[str, Call, type[Exception], str]] = {
    "no class": ("class", lambda f: from_pretrained(f), ValueError,
     "told one of 3 classes.*give condition='label'"),
    "a prompt for classes": ("class", lambda f: told(from_pretrained(f, condition="prompt"),
     prompt=["a", "b"]), TypeError, "the label of sample 0 must be a whole number, not 'a'"),
    "a label for prompts": ("prompt", lambda f: told(from_pretrained(f, condition="label"),
     label=["a", 1]), TypeError, "the prompt of sample 1 must be a text, not 1"),
    "a label for nothing": ("unconditional", lambda f: from_pretrained(f, condition="label"),
     ValueError, "told nothing but the picture; leave it out"),
    "a class too many": ("class", lambda f: told(from_pretrained(f, condition="label"),
     label=[0, 3]), ValueError, "label of sample 1 is 3, and the model knows the classes 0 to 2"),
    "a class by name": ("dit", lambda f: told(from_pretrained(f, condition="label"),
     label=["cat", "dog"]), TypeError, "label of sample 0 must be a whole number, not 'cat'"),
    "a prompt that is none": ("prompt", lambda f: from_pretrained(f, condition="prompt").tell([3]),
     TypeError, "the prompt of row 0 of the batch must be a text, not 3"),
    "data without their labels": ("class",
     lambda f: from_pretrained(f, condition="label")(x_of(8).float()), ValueError,
     "told the column 'label', and got data alone"),
    "pictures of another size": ("unconditional",
     lambda f: extract(from_pretrained(f), x_of(12), progress=False), ValueError,
     r"shape \(3, 12, 12\).*where \(3, 8, 8\) is expected"),
    "centred pictures": ("unconditional",
     lambda f: extract(from_pretrained(f), 2 * x_of(8) - 1, progress=False), ValueError,
     r"outside \[0, 1\]"),
    "a timestep too late": ("flow", lambda f: from_pretrained(f, [saved.STEPS]), ValueError,
     "different indices from 0 to 99; got .100"),
    "a window": ("flow", lambda f: from_pretrained(f, window=8), ValueError,
     "window=8 does not concern"),
    "a format of whole numbers": ("flow", lambda f: from_pretrained(f, dtype="int8"), ValueError,
     "dtype must be float32, bfloat16.*not 'int8'"),
    "an encoder's parameters": ("dit", lambda f: from_pretrained(f, parameters="vae.*"),
     ValueError, "no parameter of DiTTransformer2DModel fits 'vae"),
    "an autoencoder's timesteps": ("dit", lambda f: from_pretrained(f / "vae", [3]), ValueError,
     r"timesteps=\[3\] does not concern an autoencoder"),
}  # fmt: skip


@pytest.mark.parametrize("what", ROWS)
def test_what_makes_no_sense_is_refused(what, home):
    name, call, kind, message = ROWS[what]
    with pytest.raises(kind, match=message):
        call(folder_of(home, name))
