"""Samplers: of the density itself, and DDIM with fresh noise."""

import torch

from fimetric.models import build


def test_samples_of_a_flow_are_its_draws_on_the_grid():
    flow = build("glow", "tiny", (1, 8, 8)).eval()
    latents = flow.draw_latents(3, torch.Generator().manual_seed(1))
    x = flow.inverse([0.7 * z for z in latents]).detach()
    grid = flow.sample(3, torch.Generator().manual_seed(1), temperature=0.7)
    assert ((x * 256).floor().clamp(0, 255) / 255).equal(grid)


def test_eta_one_is_the_ancestral_step():
    """One step of DDIM with eta = 1 has the mean and variance of q(x_{t-1} | x_t, x_0)."""
    model = build("diffusion", "tiny", (1, 8, 8)).eval()
    model.predict = lambda x, t: torch.zeros_like(x)  # then x_0 = x_t / sqrt(abar_t), clamped
    abar = model.scheduler.alphas_cumprod
    t, later = 999, 0  # two steps: 999 -> 0 -> image
    n = 4000
    drawn = model.sample(n, torch.Generator().manual_seed(0), steps=2, eta=1.0)
    x = torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    x0 = (x / abar[t].sqrt()).clamp(-1, 1)
    alpha = abar[t] / abar[later]  # of the jump from 0 to 999
    mean = (
        abar[later].sqrt() * (1 - alpha) / (1 - abar[t]) * x0
        + alpha.sqrt() * (1 - abar[later]) / (1 - abar[t]) * x
    )
    variance = (1 - abar[later]) / (1 - abar[t]) * (1 - alpha)
    # The last step divides by sqrt(abar_0), clamps and rounds to the grid.
    last = (2 * drawn - 1) * abar[0].sqrt()
    inside = mean.abs() < 0.9
    error = (last - mean)[inside]
    assert abs(error.mean()) < 5e-3
    assert abs(error.var() - variance) < 0.1 * variance + 2e-5
