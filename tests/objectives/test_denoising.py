"""The denoising loss against the schedulers of diffusers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler, UNet2DModel
from torch import nn

from fimetric.noise import fixed_noise
from fimetric.objectives import Denoising

SHAPE = (3, 8, 8)
X = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0)).double()
# float64 models; the scheduler's own float32 square roots are good to 1e-7
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def unet(**settings) -> UNet2DModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return UNet2DModel(
            sample_size=8,
            block_out_channels=(8, 8),
            layers_per_block=1,
            down_block_types=("DownBlock2D",) * 2,
            up_block_types=("UpBlock2D",) * 2,
            norm_num_groups=2,
            add_attention=False,
            **settings,
        ).double()


class Plain(nn.Module):
    """A module that returns a tensor, and notes what it is called with."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7).double())
        self.channels = channels
        self.calls: list[tuple[torch.Tensor, torch.Tensor, dict]] = []

    def forward(self, x, t, **others):
        self.calls.append((x, t, others))
        return (self.scale * x).repeat(1, 2, 1, 1)[:, : self.channels]


@pytest.mark.parametrize("loss", ["l1", "l2"])
@pytest.mark.parametrize("predicts", ["epsilon", "sample", "v_prediction"])
@pytest.mark.parametrize("make", [unet, Plain])
def test_loss_is_the_error_at_the_noise_of_the_scheduler(make, predicts, loss):
    model, scheduler = make(), DDPMScheduler(prediction_type=predicts)
    objective = Denoising(model, scheduler, timesteps=(3, 400), draws=2, loss=loss, seed=11)
    assert list(objective.views()) == [f"t={t}/draw={k}" for t in (3, 400) for k in (0, 1)]
    x0, losses = 2 * X - 1, []
    for t in (3, 400):
        for k in (0, 1):
            eps = fixed_noise(11, f"t={t}/draw={k}", SHAPE, x0, "normal")
            steps = torch.full((4,), t)
            found = model(scheduler.add_noise(x0, eps, steps), steps)
            target = {
                "epsilon": eps,
                "sample": x0,
                "v_prediction": scheduler.get_velocity(x0, eps, steps),
            }[predicts]
            error = target - getattr(found, "sample", found)
            error = error.abs() if loss == "l1" else error.square()
            losses.append(error.flatten(1).sum(1))
            torch.testing.assert_close(objective.losses(f"t={t}/draw={k}", X), losses[-1], **CLOSE)
    assert not torch.allclose(losses[0], losses[1])  # draws differ
    torch.testing.assert_close(objective(X), torch.stack(losses).mean(0), **CLOSE)


def test_data_that_are_centred_already():
    model, scheduler = Plain(), DDPMScheduler()
    centred = Denoising(model, scheduler, centred=False)(2 * X - 1)
    torch.testing.assert_close(centred, Denoising(model, scheduler)(X), rtol=1e-12, atol=0)


def test_timestep_zero_is_the_first_noise_level():
    model = Plain()
    scheduler = SimpleNamespace(alphas_cumprod=torch.tensor([1.0, 0.5]))
    Denoising(model, scheduler, timesteps=(0,))(X)
    noisy, steps, others = model.calls[0]
    assert torch.equal(noisy, 2 * X - 1)  # abar_0 = 1 here: no noise at all
    assert torch.equal(steps, torch.zeros(4).long()) and others == {}


def test_other_entries_of_a_batch_are_passed_on_by_name():
    model, scheduler = unet(num_class_embeds=3), DDPMScheduler()
    objective = Denoising(model, scheduler, timesteps=(5,))
    classes = torch.tensor([0, 2, 2, 1])
    found = objective({"class_labels": classes, "x": X})
    x0, steps = 2 * X - 1, torch.full((4,), 5)
    eps = fixed_noise(0, "t=5/draw=0", SHAPE, x0, "normal")
    predicted = model(scheduler.add_noise(x0, eps, steps), steps, class_labels=classes).sample
    torch.testing.assert_close(found, (eps - predicted).square().flatten(1).sum(1), **CLOSE)
    other = objective({"class_labels": 0 * classes, "x": X})
    assert ((found - other).abs() > 1e-3).tolist() == [False, True, True, True]


def test_learned_variance_is_left_out_and_a_tuple_opened():
    class Pair(Plain):
        def forward(self, x, t):
            return super().forward(x, t), "something else"

    expected = Denoising(Plain(3), DDPMScheduler())(X)
    assert torch.equal(Denoising(Plain(6), DDPMScheduler())(X), expected)
    assert torch.equal(Denoising(Pair(6), DDPMScheduler())(X), expected)


def test_prediction_that_would_be_broadcast_is_refused():
    with pytest.raises(ValueError, match=r"Plain predicts \(4, 1, 8, 8\) for data of shape"):
        Denoising(Plain(1), DDPMScheduler())(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"timesteps": ()}, "different indices from 0 to 999"),
        ({"timesteps": (1000,)}, "from 0 to 999; got .1000"),
        ({"timesteps": (-1,)}, "from 0 to 999"),
        ({"timesteps": (3, 3)}, "different indices"),
        ({"draws": 0}, "draws must be at least 1"),
        ({"loss": "huber"}, "'l1' or 'l2', not 'huber'"),
        ({"scheduler": object()}, "object has no alphas_cumprod"),
        ({"scheduler": SimpleNamespace(alphas_cumprod=[1.0, 0.5])}, "no alphas_cumprod that is a"),
    ],
)
def test_arguments_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        Denoising(Plain(), **{"scheduler": DDPMScheduler(), **settings})


LEVELS = DDPMScheduler().alphas_cumprod


def says(config) -> SimpleNamespace:
    return SimpleNamespace(alphas_cumprod=LEVELS, config=config)


@pytest.mark.parametrize(
    ("scheduler", "predicts"),
    [
        (says({"prediction_type": "sample"}), "sample"),
        (says(SimpleNamespace(prediction_type="v_prediction")), "v_prediction"),
        (SimpleNamespace(alphas_cumprod=LEVELS, prediction_type="sample"), "sample"),
        (says({"use_flow_sigmas": False}), "epsilon"),
        (says(SimpleNamespace()), "epsilon"),
        (says(None), "epsilon"),
    ],
)
def test_prediction_type_is_read_wherever_a_scheduler_keeps_it(scheduler, predicts):
    expected = Denoising(Plain(), DDPMScheduler(prediction_type=predicts), (50,))(X)
    assert torch.equal(Denoising(Plain(), scheduler, (50,))(X), expected)


@pytest.mark.parametrize("kind", ["score", "flow_prediction", "velocity", "", None, 1, ["epsilon"]])
@pytest.mark.parametrize("make", [dict, SimpleNamespace])
def test_prediction_types_that_are_not_known_are_refused(make, kind):
    with pytest.raises(ValueError, match=r"prediction_type is .*one of epsilon, sample, v_pred"):
        Denoising(Plain(), says(make(prediction_type=kind)))


def test_a_scheduler_of_flow_matching_is_refused():
    scheduler = DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="epsilon")
    with pytest.raises(ValueError, match=r"use_flow_sigmas=True.*take FlowMatching"):
        Denoising(Plain(), scheduler)


def test_timesteps_may_be_an_array():
    objective = Denoising(Plain(), DDPMScheduler(), timesteps=np.arange(2))
    assert objective.describe() == Denoising(Plain(), DDPMScheduler(), (0, 1)).describe()


def test_the_description_changes_with_all_that_changes_the_loss():
    plain, scheduler = Plain(), DDPMScheduler()
    objectives = [
        Denoising(plain, scheduler),
        Denoising(plain, scheduler, timesteps=(1,)),
        Denoising(plain, scheduler, draws=2),
        Denoising(plain, scheduler, loss="l1"),
        Denoising(plain, scheduler, centred=False),
        Denoising(plain, DDPMScheduler(beta_start=2e-4)),
        Denoising(plain, DDPMScheduler(prediction_type="sample")),
    ]
    assert len({o.describe() for o in objectives}) == len(objectives)
