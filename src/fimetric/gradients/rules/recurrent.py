"""Fused layers of LSTMs: backpropagation through time, as far as the gates.

A fused kernel adds up its weights' gradients over time and samples. Each is a product with the
gradients of the gates before they are bent, so those are computed anew, for all samples at once.

Letters: T steps, B sequences, I inputs, H units.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fimetric.gradients.contributions import Contribution, Factors, Sum, widened
from fimetric.gradients.layout import Axis, Layout, Ragged
from fimetric.gradients.rules.tapped import Tapped

LSTM = 2  # mode
INPUT_WEIGHT, STATE_WEIGHT, STATE_BIAS = 1, 2, 4  # inputs of the operation


class Steps(NamedTuple):
    """What a layer's weights meet at each step."""

    inputs: Tensor  # (T, B, I)
    states: Tensor  # before the step, (T, B, H)
    gradients: Tensor  # of the gates, (T, B, 4 H)


class Slopes(NamedTuple):
    """Derivatives at each step."""

    cells: Tensor  # of the cell by the one before, (T, B, H)
    states: Tensor  # of the state by the cell, (T, B, H)
    gates: Tensor  # of the cell or, for the last gate, of the state by the gates, (T, B, 4, H)


def lstm_layer(tap: Tapped) -> Contribution | None:
    """One direction of a layer of ``nn.LSTM`` by oneDNN: (T, B, I) -> (T, B, H)."""
    layout = _sequences(tap)
    if layout is None or tap.node._saved_mode != LSTM or tap.input > STATE_BIAS:
        return None
    if "steps" not in tap.scratch:
        steps = _steps(tap.node, tap.gradients)
        tap.scratch["steps"] = Steps(*(layout.split(x).flatten(1, 2) for x in steps))
    steps = tap.scratch["steps"]
    if tap.input == INPUT_WEIGHT:
        return Factors(steps.gradients, steps.inputs)
    if tap.input == STATE_WEIGHT:
        return Factors(steps.gradients, steps.states)
    return Sum(steps.gradients, (1,), tap.shape)


def _sequences(tap: Tapped) -> Axis | None:
    """Return where the samples lie among the sequences, if all outputs agree about it."""
    found = []
    for g, layout in zip(tap.gradients, tap.layouts, strict=True):
        if g is not None:
            if not isinstance(layout, Axis) or layout.dim != g.dim() - 2:
                return None
            found.append(replace(layout, dim=1))
    return found[0] if all(_same(layout, found[0]) for layout in found) else None


def _same(a: Axis, b: Axis) -> bool:
    if isinstance(a, Layout) and isinstance(b, Layout):
        return (a.outer, a.inner) == (b.outer, b.inner)
    return isinstance(a, Ragged) and isinstance(b, Ragged) and torch.equal(a.owner, b.owner)


def _steps(node: Any, gradients: Sequence[Tensor | None]) -> Steps:
    """Run a layer again and back, its steps in the order in which it took them."""
    x, y, of_outputs = node._saved_input, node._saved_result0, gradients[0]
    of_outputs = torch.zeros_like(y) if of_outputs is None else of_outputs
    if node._saved_reverse:
        x, y, of_outputs = x.flip(0), y.flip(0), of_outputs.flip(0)
    x, before = widened(x), widened(torch.cat([node._saved_hx_.unsqueeze(0), y[:-1]]))
    slopes = _slopes(_gates(node, x, before), widened(node._saved_cx_))
    found = _backwards(slopes, widened(node._saved_weight1), of_outputs, *gradients[1:])
    return Steps(x, before, found)


def _gates(node: Any, x: Tensor, before: Tensor) -> Tensor:
    """Return input, forget, cell and output gates before they are bent, (T, B, 4, H)."""
    sums = x.flatten(0, 1) @ widened(node._saved_weight0).T
    sums.addmm_(before.flatten(0, 1), widened(node._saved_weight1).T)
    if node._saved_has_biases:
        sums += widened(node._saved_weight2 + node._saved_weight3)
    return sums.view(*x.shape[:2], 4, -1)


def _slopes(gates: Tensor, cell: Tensor) -> Slopes:
    new, squashed = gates[:, :, 2].tanh(), gates.sigmoid_()
    i, f, _, o = squashed.unbind(2)
    added, cells = i * new, gates.new_empty(len(gates) + 1, *cell.shape)
    cells[0] = cell
    for t, forget in enumerate(f):
        torch.addcmul(added[t], forget, cells[t], out=cells[t + 1])
    last = cells[1:].tanh()
    slopes = torch.addcmul(squashed, squashed, squashed, value=-1)
    slopes[:, :, 0] *= new
    slopes[:, :, 1] *= cells[:-1]
    torch.addcmul(i, added, new, value=-1, out=slopes[:, :, 2])
    slopes[:, :, 3] *= last
    return Slopes(f, torch.addcmul(o, o * last, last, value=-1), slopes)


def _backwards(
    slopes: Slopes,
    weight: Tensor,
    of_outputs: Tensor,
    of_state: Tensor | None,
    of_cell: Tensor | None,
) -> Tensor:
    """Return the gradients of the gates at all steps, (T, B, 4 H), in place of their slopes."""
    zero = torch.zeros_like(slopes.cells[0])
    state, cell = (zero if g is None else widened(g) for g in (of_state, of_cell))
    for t in reversed(range(len(of_outputs))):
        state = state + of_outputs[t]
        cell = torch.addcmul(cell, state, slopes.states[t])
        slopes.gates[t, :, :3] *= cell.unsqueeze(1)
        slopes.gates[t, :, 3] *= state
        state, cell = slopes.gates[t].flatten(1) @ weight, cell * slopes.cells[t]
    return slopes.gates.flatten(2)
