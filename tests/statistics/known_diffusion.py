"""Diffusion models of Gaussian data, whose predicted noise is known, and the oracle of it."""

import numpy as np
import torch
from diffusers import DDPMScheduler
from torch import nn

from fimetric.noise import fixed_noise
from fimetric.objectives import Denoising

SHAPE, D = (1, 2, 2), 4
_A = torch.randn(D, D, generator=torch.Generator().manual_seed(3)).double()
MEAN = torch.tensor([0.3, -0.2, 0.5, 0.0]).double()
COVARIANCE = _A @ _A.T / 8 + 0.05 * torch.eye(D).double()


class Gaussian(nn.Module):
    """Predicts what the best model of data N(mean, covariance) would; counts its calls."""

    def __init__(self, scheduler, mean=MEAN, covariance=COVARIANCE) -> None:
        super().__init__()
        self.mean, self.covariance = nn.Parameter(mean.clone()), nn.Parameter(covariance.clone())
        self.abar = scheduler.alphas_cumprod.double()
        self.predicts = scheduler.config.prediction_type
        self.calls = 0

    def forward(self, x, t):
        self.calls += 1
        assert t.shape == (len(x),)
        a = self.abar[t[0]]
        gain = a.sqrt() * self.covariance  # covariance of x_0 with x_t
        spread = a * self.covariance + (1 - a) * torch.eye(D).double()
        rest = x.flatten(1) - a.sqrt() * self.mean
        x_0 = self.mean + torch.linalg.solve(spread, rest.T).T @ gain.T
        eps = (x.flatten(1) - a.sqrt() * x_0) / (1 - a).sqrt()
        found = {"sample": x_0, "v_prediction": a.sqrt() * eps - (1 - a).sqrt() * x_0}
        return found.get(self.predicts, eps).view_as(x)


def gaussian(predicts="epsilon", length=1000, mean=MEAN, covariance=COVARIANCE, **settings):
    """Return the objective of a Gaussian model."""
    scheduler = DDPMScheduler(num_train_timesteps=length, prediction_type=predicts)
    return Denoising(Gaussian(scheduler, mean, covariance), scheduler, **settings)


def images(n=5):
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(0)).double()


# The oracle: numpy, one sample at a time


def abar(objective, t):
    return float(objective.scheduler.alphas_cumprod[t])


def precision(a):
    """Return the inverse covariance of x_t at signal a."""
    return np.linalg.inv(a * COVARIANCE.numpy() + (1 - a) * np.eye(D))


def eps_at(x_t, a):
    """Return the predicted noise of one sample x_t (D,)."""
    return np.sqrt(1 - a) * precision(a) @ (x_t - np.sqrt(a) * MEAN.numpy())


def centred(x):
    """Return samples as the model sees them, (N, D)."""
    return 2 * x.flatten(1).numpy() - 1


def noise(name, seed=0, kind="normal"):
    """Return one sample's noise, (D,)."""
    one = fixed_noise(seed, name, SHAPE, torch.zeros(1, *SHAPE).double(), kind)
    return one[0].flatten().numpy()


def walk(x_t, levels):
    """Return what DDIM makes of one sample, and the predicted noises, at levels a_0, a_1, ...

    In coordinates x / sqrt(a) and gamma = sqrt((1 - a) / a) it is Euler's method.
    """
    found, gammas = [], [np.sqrt((1 - a) / a) for a in levels]
    scaled = x_t / np.sqrt(levels[0])
    for i, a in enumerate(levels):
        if a == 1:
            break  # the data: nothing to predict
        found.append(eps_at(np.sqrt(a) * scaled, a))
        if i + 1 < len(levels):
            scaled = scaled + (gammas[i + 1] - gammas[i]) * found[-1]
    return np.sqrt(levels[-1]) * scaled, found
