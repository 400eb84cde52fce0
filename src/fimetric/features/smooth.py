"""Columns as smooth functions of one number: a curve for the mean, a line for the log deviation.

    y = m(x) + s(x) e,     m piecewise linear,     log s linear

m is a sum of hat functions on equally spaced knots. Its second differences are penalised, by as
much as generalised cross-validation chooses for each column, so that few rows give a line. The
deviation is told by the absolute residuals, which a few wild rows move less than their squares.

References:
    Smoothing Noisy Data with Spline Functions (Craven and Wahba, 1978), Numerische Mathematik 31.
    Flexible Smoothing with B-splines and Penalties (Eilers and Marx, 1996), Statistical Science 11.
"""

import numpy as np

from fimetric.typing import Array

KNOTS = 5
PENALTIES = np.logspace(-4, 4, 17)  # of second differences, times the number of rows
ROUNDS = 3  # of mean and deviation in turn
STEPS = 20  # of the deviation's slope
RATIO = 100.0  # between the deviations at both ends, at most: a lone row at an end has no residual


def hats(x: Array, knots: Array) -> Array:
    """Return the hat functions (..., K) of numbers (...); beyond the knots lines go on."""
    place = (x - knots[0]) / (knots[1] - knots[0])
    cell = np.clip(np.floor(place), 0, len(knots) - 2).astype(np.int64)
    right = (place - cell)[..., None]
    number = np.arange(len(knots))
    return (number == cell[..., None]) * (1 - right) + (number == cell[..., None] + 1) * right


def fitted(design: Array, x: Array, y: Array) -> tuple[Array, Array]:
    """Return heights of the mean's knots (K, J), and slopes (J,) of the log deviation.

    Arguments:
        design: (N, K), the hat functions of the rows, or means of them over the members of a row.
        x: (N,) where the rows lie, not all in one place.
        y: (N, J) finite.
    """
    middle = y.mean(0)
    slopes = np.zeros(y.shape[1])
    for _ in range(ROUNDS):
        weights = np.exp(-2 * np.outer(x - x.mean(), slopes))
        heights = _mean(design, y - middle, weights / weights.mean(0))
        slopes = _slopes(x, y - middle - design @ heights)
    return heights + middle, slopes


def _mean(design: Array, y: Array, weights: Array) -> Array:
    """Return the heights (K, J) with the smallest generalised cross-validation."""
    n, K = design.shape
    bends = np.diff(np.eye(K), 2, axis=0)
    squares = (design[:, :, None] * design[:, None, :]).reshape(n, -1)
    normal = (weights.T @ squares).reshape(-1, K, K)
    right, total = (weights * y).T @ design, (weights * y * y).sum(0)
    best, found = np.full(y.shape[1], np.inf), np.zeros((y.shape[1], K))
    for penalty in n * PENALTIES:
        inverse = np.linalg.inv(normal + penalty * bends.T @ bends)
        heights = np.einsum("jkl,jl->jk", inverse, right)
        rest = total - 2 * (heights * right).sum(1)
        rest += np.einsum("jk,jkl,jl->j", heights, normal, heights)
        free = n - np.einsum("jkl,jlk->j", inverse, normal)
        criterion = np.maximum(rest, 0) / free**2
        better = criterion < best
        best, found[better] = np.where(better, criterion, best), heights[better]
    return found.T


def _slopes(x: Array, residuals: Array) -> Array:
    """Return slopes (J,) of log |residual|, by a quasi-likelihood with a logarithmic link."""
    size, place = np.abs(residuals), x - x.mean()
    reach = np.ptp(x)
    slopes = np.zeros(size.shape[1])
    moving = size.mean(0) > 0
    for _ in range(STEPS):
        relative = size[:, moving] * np.exp(-np.outer(place, slopes[moving]))
        step = place @ (relative / relative.mean(0) - 1) / np.square(place).sum()
        slopes[moving] += np.clip(step, -1 / reach, 1 / reach)
    return np.clip(slopes, -np.log(RATIO) / reach, np.log(RATIO) / reach)
