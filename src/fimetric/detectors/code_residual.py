"""What of a loss the length of a simple code of the sample does not tell.

Simple samples are likely, whatever they show: what a compressor needs for a sample tells most of
how its loss differs from others' (Serra et al., 2020, arXiv:1909.11480). What is left tells more.
"""

from collections.abc import Sequence

import numpy as np

from fimetric.features.screening import NO_SPREAD
from fimetric.features.table import CODE, Features
from fimetric.typing import Array


def codes_among(parts: Sequence[str]) -> list[str]:
    """Return which parts are code lengths."""
    return [name for name in parts if name.startswith(CODE)]


def loss_scale(features: Features) -> Array:
    """Return mean and deviation (2, V) of the losses of rows; inf where they are all the same."""
    losses = features.group_losses
    deviation = losses.std(0)
    deviation[np.ptp(losses, 0) <= NO_SPREAD * np.abs(losses).max(0)] = np.inf
    return np.stack([losses.mean(0), deviation])


def level(features: Features, scale: Array) -> Array:
    """Return the loss of rows (N,), mean over the views, each in deviations of own rows."""
    return np.asarray(((features.group_losses - scale[0]) / scale[1]).mean(1))


def shortest(features: Features, codes: Sequence[str]) -> Array:
    """Return the shortest code length of rows, (N,)."""
    return np.asarray(features.parts_named(codes).min(1))


def code_line(features: Features, scale: Array, codes: Sequence[str]) -> Array:
    """Return slope and offset of the loss's level as a function of the shortest code length."""
    short, height = shortest(features, codes), level(features, scale)
    if np.ptp(short) <= NO_SPREAD * np.abs(short).max():
        return np.array([0.0, height.mean()])
    return np.asarray(np.polyfit(short, height, 1))


def residual(features: Features, scale: Array, line: Array, codes: Sequence[str]) -> Array:
    """Return what of the loss's level that line does not tell, (N,)."""
    return np.asarray(level(features, scale) - np.polyval(line, shortest(features, codes)))
