"""What likelihoods and their bounds consist of, in nats: one place for all who ask.

Of a flow with latents z = f(x), -log p(x) = -log p(z) - log |det df/dx|. Of an autoencoder with
q = q(z|x) and a standard normal prior, the bound is KL(q || p) - E_q log p(x|z), and
KL(q || p) = H[q, p] - H[q].
"""

import inspect
import math
from typing import Any

import torch
from torch import Tensor, nn

LOG_TWO_PI = math.log(2 * math.pi)


def has_methods(module: nn.Module, *names: str) -> bool:
    """Return whether a module has methods of these names; modules within it are none."""
    found = [getattr(module, name, None) for name in names]
    return all(callable(each) and not isinstance(each, nn.Module) for each in found)


def takes(method: Any, *given: Any) -> bool:
    """Return whether a method can be called with these; what is of the same name may be another."""
    try:
        inspect.signature(method).bind(*given)
    except (TypeError, ValueError):
        return False
    return True


def are_latents(found: Any, samples: int) -> bool:
    """Return whether something is (latents, log |det|) of N samples, as a flow tells them."""
    if not isinstance(found, tuple | list) or len(found) != 2:
        return False
    latents, log_det = found
    each = [latents] if isinstance(latents, Tensor) else latents
    return (
        isinstance(each, tuple | list)
        and all(isinstance(z, Tensor) and len(z) == samples for z in each)
        and isinstance(log_det, Tensor)
        and log_det.shape == (samples,)
    )


def by_scale(told: Any) -> tuple[list[Tensor], Tensor]:
    """Return the latents of each scale, of one if there are no more, and log |det|."""
    latents, log_det = told
    return ([latents] if isinstance(latents, Tensor) else list(latents)), log_det


def are_moments(found: Any, samples: int) -> bool:
    """Return whether something is (mean, log deviation) of N samples, as an encoder tells them."""
    return (
        isinstance(found, tuple | list)
        and len(found) == 2
        and all(isinstance(x, Tensor) and len(x) == samples for x in found)
        and found[0].shape == found[1].shape
    )


def log_normal(z: Tensor) -> Tensor:
    """Return the log density (N,) of z (N, ...) under independent standard normals."""
    return -0.5 * (z.square() + LOG_TWO_PI).flatten(1).sum(1)


def flow_parts(latents: list[Tensor], log_det: Tensor) -> dict[str, Tensor]:
    """Return ``prior``, or ``prior/scale=k`` of several latents (N, ...), and ``log-determinant``.

    They are -log p(z) under a standard normal and minus log |det| (N,): the parts of a loss.
    """
    priors = [-log_normal(fine(z)) for z in latents]
    names = ["prior"] if len(priors) == 1 else [f"prior/scale={k}" for k in range(len(priors))]
    return {**dict(zip(names, priors, strict=True)), "log-determinant": -log_det}


def posterior_parts(mean: Tensor, log_std: Tensor) -> dict[str, Tensor]:
    """Return ``cross-entropy`` H[q, p], ``entropy`` H[q] and ``rate`` KL(q || p), each (N,).

    Arguments:
        mean, log_std: of the Gaussian posteriors q, (N, ...); p is the standard normal.
    """
    second_moment = mean.square() + (2 * log_std).exp()
    return {
        "cross-entropy": 0.5 * (second_moment + LOG_TWO_PI).flatten(1).sum(1),
        "entropy": (log_std + 0.5 * (1 + LOG_TWO_PI)).flatten(1).sum(1),
        "rate": (0.5 * (second_moment - 1) - log_std).flatten(1).sum(1),
    }


def drawn_parts(
    objective: Any, x: Tensor, mean: Tensor, log_std: Tensor, draws: int
) -> tuple[Tensor, Tensor]:
    """Return log p(x|z_k) and log p(x|z_k) p(z_k) / q(z_k|x) of draws of the latents, (K, N) each.

    Arguments:
        objective: a ``NegativeELBO``, whose noise the draws are of and whose module has
            ``log_likelihood(x, z) -> (N,)``.
        x: prepared samples (N, ...).
        mean, log_std: of their posteriors.
        draws: K.
    """
    likelihoods, weights = [], []
    for k in range(draws):
        noise = objective.noise(f"draw={k}", x)
        z = mean + log_std.exp() * noise
        log_q = log_normal(noise) - log_std.flatten(1).sum(1)
        likelihoods.append(objective.module.log_likelihood(x, z))
        weights.append(likelihoods[-1] + log_normal(z) - log_q)
    return torch.stack(likelihoods), torch.stack(weights)


def importance_weighted(weights: Tensor) -> Tensor:
    """Return log of the mean over K draws of weights given by their logarithms (K, N), (N,)."""
    return weights.logsumexp(0) - math.log(len(weights))


def gaussian(x: Tensor, mean: Tensor) -> Tensor:
    """Return -log N(x; mean, 1) in nats, (N,)."""
    return 0.5 * ((x - mean).square() + LOG_TWO_PI).flatten(1).sum(1)


def divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """Return the divergence of N(mean, exp(logvar)) from N(0, 1) in nats, (N,)."""
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1)


def fine(x: Tensor) -> Tensor:
    """Return numbers in float32 at least, so that their sum keeps its digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
