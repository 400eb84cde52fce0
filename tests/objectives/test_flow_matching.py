"""The loss of flow matching against the scheduler of diffusers."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
)
from torch import nn

from fimetric.noise import fixed_noise
from fimetric.objectives import FlowMatching

SHAPE, STEPS = (3, 4, 4), 10
X = torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))
PLAIN = FlowMatchEulerDiscreteScheduler(STEPS)


class Known(nn.Module):
    """A model that knows the clean data of its batch, and so the velocity, but for a factor.

    Its arguments are in the order of a transformer's, and it notes what it is called with.
    """

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))
        self.calls: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, noisy, words=None, timestep=None):
        self.calls.append((noisy, timestep))
        sigma = (timestep / STEPS).reshape(-1, 1, 1, 1)
        return SimpleNamespace(sample=self.factor * (noisy - (2 * X - 1)) / sigma)


def eps(t: int, draw: int = 0, seed: int = 7) -> torch.Tensor:
    return fixed_noise(seed, f"t={t}/draw={draw}", SHAPE, X, "normal")


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("t", [0, 4, STEPS - 1])
def test_exact_velocity_has_no_loss_and_its_step_leads_to_the_data(t, shift):
    model, x = Known(), 2 * X - 1
    scheduler = FlowMatchEulerDiscreteScheduler(STEPS, shift=shift)
    losses = FlowMatching(model, scheduler, (t,), seed=7)(X)
    torch.testing.assert_close(losses, torch.zeros(4), rtol=0, atol=1e-8)
    [(noisy, told)] = model.calls
    sampler = FlowMatchEulerDiscreteScheduler(STEPS)  # visits all levels, and then the data
    sampler.set_timesteps(STEPS)
    torch.testing.assert_close(noisy, sampler.scale_noise(x, told[:1], eps(t)), rtol=0, atol=1e-6)
    velocity = eps(t) - x
    after = sampler.step(velocity, told[0], noisy).prev_sample
    sigma = t / STEPS  # of the next cleaner level
    torch.testing.assert_close(after, (1 - sigma) * x + sigma * eps(t), rtol=0, atol=1e-6)
    if t == 0:
        torch.testing.assert_close(after, x, rtol=0, atol=1e-6)


def test_views_losses_and_their_mean():
    objective = FlowMatching(Known(0.5), PLAIN, (0, 5), draws=2, centred=False, seed=7)
    assert list(objective.views()) == [f"t={t}/draw={k}" for t in (0, 5) for k in (0, 1)]
    expected = []
    for t in (0, 5):
        for k in (0, 1):
            sigma = (t + 1) / STEPS
            noisy = (1 - sigma) * X + sigma * eps(t, k)
            predicted = 0.5 * (noisy - (2 * X - 1)) / sigma
            error = (eps(t, k) - X - predicted).square().flatten(1).sum(1)
            torch.testing.assert_close(objective.losses(f"t={t}/draw={k}", X), error)
            expected.append(error)
    torch.testing.assert_close(objective(X), torch.stack(expected).mean(0))


def test_a_coarse_model_has_fine_losses():
    coarse = FlowMatching(Known(0.5).bfloat16(), PLAIN, (5,), seed=7)(X)
    fine = FlowMatching(Known(0.5), PLAIN, (5,), seed=7)(X)
    assert coarse.dtype == torch.float32
    torch.testing.assert_close(coarse, fine, rtol=0.01, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": DDPMScheduler()}, "DDPMScheduler is of discrete diffusion.*take Denoising"),
        ({"scheduler": object()}, "object has no config.num_train_timesteps"),
        ({"scheduler": EDMEulerScheduler()}, "prediction_type is 'epsilon'.*velocity eps - x"),
        (
            {"scheduler": DPMSolverMultistepScheduler(use_flow_sigmas=True)},
            "prediction_type is 'epsilon'",
        ),
        (
            {"scheduler": FlowMatchEulerDiscreteScheduler(invert_sigmas=True)},
            "invert_sigmas=True: its model is told 1 - sigma",
        ),
        ({"timesteps": (STEPS,)}, "different indices from 0 to 9; got .10"),
        ({"timesteps": ()}, "different indices"),
        ({"draws": 0}, "draws must be at least 1"),
    ],
)
def test_arguments_that_make_no_sense(settings, message):
    with pytest.raises(ValueError, match=message):
        FlowMatching(Known(), **{"scheduler": PLAIN, **settings})


def test_another_sampler_of_the_same_model_gives_the_same_loss():
    solver = DPMSolverMultistepScheduler(
        STEPS, use_flow_sigmas=True, prediction_type="flow_prediction"
    )
    found = FlowMatching(Known(0.5), solver, (3,))(X)
    assert torch.equal(found, FlowMatching(Known(0.5), PLAIN, (3,))(X))


def test_the_description_changes_with_all_that_changes_the_loss():
    model = Known()
    made = [
        FlowMatching(model, PLAIN),
        FlowMatching(model, PLAIN, (1,)),
        FlowMatching(model, PLAIN, draws=2),
        FlowMatching(model, PLAIN, centred=False),
        FlowMatching(model, FlowMatchEulerDiscreteScheduler(20)),
    ]
    assert len({each.describe() for each in made}) == len(made)
