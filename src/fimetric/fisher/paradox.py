"""The likelihood paradox, and the volume argument that explains part of it.

Deep generative models find foreign data more likely than their own, simple data most of all: an
image without detail is likely because there are few such images to share the probability of their
kind. So the likelihood is measured on a model's own images made simpler, step by step.

Do Deep Generative Models Know What They Don't Know? (Nalisnick et al., 2019, arXiv 1810.09136)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from fimetric.data import Samples
from fimetric.fisher.stream import loss_values
from fimetric.metrics import Estimate, auroc, estimate
from fimetric.objectives.base import Objective
from fimetric.typing import Array

SMOOTHED = (1.0, 2.0, 4.0)  # deviations of the blur, in pixels
BLACK = "one black image"


@dataclass(frozen=True)
class Paradox:
    """Losses of several sets under one model.

    Arguments:
        own: name of the in-distribution set.
        bits: set -> (N,) loss in bits per dimension, the in-distribution set first, then foreign
            sets, then its images made simpler.
        variation: set -> (N,) total variation, see :func:`total_variation`.
        auroc: set -> AUROC of the loss against the in-distribution set, with its interval; below
            1/2 the set is the more likely one. Of one image it is a rank among own images.
        rank_correlation: Spearman's, of loss and total variation over own images as they are and
            made simpler.
    """

    own: str
    bits: dict[str, Array]
    variation: dict[str, Array]
    auroc: dict[str, Estimate]
    rank_correlation: float


def likelihood_paradox(
    objective: Objective,
    own: Samples,
    foreign: Mapping[str, Samples],
    batch_size: int = 64,
    seed: int = 0,
    progress: bool = True,
) -> Paradox:
    """Return the losses of own images, of foreign ones, and of own images made simpler.

    Arguments:
        objective: of the model.
        own: 8-bit images that the model was not trained on.
        foreign: name -> images.
        batch_size: samples to a forward pass.
        seed: of the bootstrap.
        progress: whether to show progress.

    Raises:
        ValueError: for data that are no 8-bit images.
    """
    simpler = {f"{own.name}, blurred by {s:g} px": smoothed(own, s) for s in SMOOTHED}
    simpler[f"{own.name}, one colour each"] = constant(own)
    simpler[BLACK] = _like(own.select([0]), np.zeros((1, *own.shape)))
    sets = {own.name: own, **foreign, **simpler}
    bits, variation = {}, {}
    for name, samples in sets.items():
        unit = int(objective.dimensions(samples.tensor([0]))[0]) * np.log(2)
        bits[name] = loss_values(objective, samples, batch_size, progress) / unit
        variation[name] = total_variation(samples)
    mine = bits[own.name]
    rest = [name for name in sets if name != own.name]
    related = [own.name, *simpler]  # the same images with more and less detail
    rank = spearmanr(
        np.concatenate([bits[name] for name in related]),
        np.concatenate([variation[name] for name in related]),
    )
    return Paradox(
        own.name,
        bits,
        variation,
        {name: estimate(auroc, mine, bits[name], seed=seed) for name in rest},
        float(rank.statistic),
    )


def smoothed(samples: Samples, deviation: float) -> Samples:
    """Return 8-bit images blurred by a Gaussian of some deviation in pixels, rounded again."""
    values = gaussian_filter(_levels(samples), (0, 0, deviation, deviation), mode="nearest")
    return _like(samples, values)


def constant(samples: Samples) -> Samples:
    """Return 8-bit images in which every pixel has the image's mean colour, rounded."""
    values = _levels(samples)
    return _like(samples, np.broadcast_to(values.mean((2, 3), keepdims=True), values.shape))


def total_variation(samples: Samples) -> Array:
    """Return the mean absolute difference of neighbouring pixels, in levels of 255, (N,)."""
    x = _levels(samples)
    down, right = np.abs(np.diff(x, axis=2)), np.abs(np.diff(x, axis=3))
    return (down.sum((1, 2, 3)) + right.sum((1, 2, 3))) / (down[0].size + right[0].size)


def _levels(samples: Samples) -> Array:
    if not samples.quantised or samples.values.ndim != 4:
        raise ValueError(f"{samples.name} must be 8-bit images (N, C, H, W)")
    return samples.values.numpy().astype(np.float64)


def _like(samples: Samples, levels: Array) -> Samples:
    values = torch.from_numpy(levels.round().clip(0, 255).astype(np.uint8))
    return Samples(values, samples.ids, samples.name)
