"""The ranges that pictures are kept in by convention, and how numbers tell which one it is.

A picture of k = 0..255 is stored as k / 255 in [0, 1], as 2k / 255 - 1 in [-1, 1], or as k itself.
Numbers of 8 bits lie on the grid of their convention, which hardly any other numbers do.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SLACK = 1e-3  # of a range's width, beyond its ends: less than half a step of 8 bits
NEAR = 0.1  # of a range's width: data that come so near to both ends span the range
OFF_GRID = 0.02  # of a step: more than float32 rounds, much less than chance allows
FEW = 256  # numbers that are looked at before all
DISTINCT = 16  # different levels from which on a grid is no chance


@dataclass(frozen=True)
class Range:
    """An interval that pictures are kept in, low to high, in 255 steps where they have 8 bits."""

    low: float
    high: float

    def __str__(self) -> str:
        """Return ``[low, high]``."""
        return f"[{self.low:g}, {self.high:g}]"

    def contains(self, low: float, high: float) -> bool:
        """Return whether numbers from low to high lie inside, but for rounding."""
        slack = SLACK * (self.high - self.low)
        return self.low - slack <= low and high <= self.high + slack

    def spanned(self, low: float, high: float) -> bool:
        """Return whether numbers from low to high come near to both ends, and lie inside."""
        near = NEAR * (self.high - self.low)
        return self.contains(low, high) and low <= self.low + near and high >= self.high - near

    def levels(self, x: Tensor) -> int:
        """Return how many different levels of 8 bits the numbers x lie on; 0 where one is off."""
        return len(torch.unique(self._steps(x, 256).round())) if self.on_grid(x) else 0

    def on_grid(self, x: Tensor, levels: int = 256) -> bool:
        """Return whether all numbers of x lie on so many levels from low to high."""
        x = x.flatten()
        for part in (x[:FEW], x):  # the first tell in nearly all cases
            steps = self._steps(part, levels)
            if not bool(((steps - steps.round()).abs() <= OFF_GRID).all()):
                return False
        return True

    def _steps(self, x: Tensor, levels: int) -> Tensor:
        return (x.detach().double() - self.low) * ((levels - 1) / (self.high - self.low))


UNIT, SIGNED, BYTES = Range(0.0, 1.0), Range(-1.0, 1.0), Range(0.0, 255.0)
CONVENTIONS = (UNIT, SIGNED, BYTES)


def outside(expected: Range, low: float, high: float) -> str:
    """Return what to say of numbers from low to high that do not lie in the range expected."""
    found = f"values from {low:.4g} to {high:.4g}"
    if expected == UNIT:
        advice = f"images lie in [0, 1]: store uint8, or float k/255{_undo(low, high)}"
        return f"{found}, outside [0, 1]; {advice}"
    return f"{found}, where {expected} is expected{_undo(low, high, expected)}"


def _undo(low: float, high: float, expected: Range = UNIT) -> str:
    """Return how numbers of another convention are brought to the one expected, if it is known."""
    found = [r for r in CONVENTIONS if r.contains(low, high) and r != expected]
    if not found or not math.isfinite(low + high):
        return ""
    a = (expected.high - expected.low) / (found[0].high - found[0].low)
    b = expected.low - a * found[0].low
    factor = f"x * {a:g}" if a >= 1 else f"x / {1 / a:g}"
    shift = "" if b == 0 else f" {'+' if b > 0 else '-'} {abs(b):g}"
    return f" (they look like {found[0]}: {factor}{shift} brings them there)"
