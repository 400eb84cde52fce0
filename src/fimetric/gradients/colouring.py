"""Learning which entries of the graph's tensors belong to which sample, without guessing.

The losses are backpropagated once with weights 1 and then with weights 2^k, k differing between
samples. Backpropagation is linear, and scaling by a power of two is exact in floating point. So
where an entry belongs to one sample, the ratio of the two gradients IS that sample's power; where
an entry collects gradients of several samples it is a mixture that is no power, or another one in
each probe. Zeros and numbers near the denormal range say nothing, and count as unknown. For graphs
with float16 see ``halving``.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from fimetric.gradients.contributions import widened
from fimetric.gradients.formulas import first_that_holds, holds
from fimetric.gradients.graph import Graph, metadata
from fimetric.gradients.halving import NOTHING, SEVERAL, samples_by_halves
from fimetric.gradients.layout import Colour, Layout, Uncoloured, fit_layout, one_sample
from fimetric.gradients.probes import (
    CODES,
    CPU,
    LOWEST,
    half_of,
    joined,
    probe_bytes,
    probe_count,
    probe_exponents,
    readable,
    real,
    smallest_number,
    weighted_gradients,
)


def colour(
    graph: Graph,
    losses: Tensor,
    wanted: Iterable[int],
    before: dict[int, list[Layout | None]] | None = None,
) -> dict[int, list[Colour]]:
    """Return, for every wanted node, the colour of each of its outputs.

    Arguments:
        graph: of this batch.
        losses: (N,).
        wanted: nodes.
        before: formulas found in an earlier batch, which are tried first.
    """
    wanted, before = list(wanted), before or {}
    if len(losses) == 1:
        return {k: [one_sample(shape) for shape in graph.shapes(k)] for k in wanted}
    kinds = {m.dtype for node in graph.nodes for m in metadata(node)}
    exponents = probe_exponents(len(losses), probe_count(losses))
    smallest = smallest_number(kinds)
    colours: dict[int, list[Colour]] = {}
    for chunk in _chunks(graph, wanted, probe_bytes(losses.device)):
        outputs = [(k, o) for k in chunk for o in range(len(graph.shapes(k)))]
        edges = [GradientEdge(graph.nodes[k], o) for k, o in outputs]
        tried = [before[k][o] if k in before else None for k, o in outputs]
        if torch.float16 in kinds:
            found = iter(_by_halves(losses, edges))
        else:
            found = iter(_colours(losses, edges, tried, exponents, smallest))
        for k in chunk:
            colours[k] = [next(found) for _ in graph.shapes(k)]
    return colours


def _chunks(graph: Graph, wanted: list[int], most: int) -> Iterable[list[int]]:
    """Cut the nodes into chunks whose gradients fit into so many bytes."""
    chunk: list[int] = []
    held = 0
    for k in wanted:
        size = sum(math.prod(m.shape) * m.dtype.itemsize for m in metadata(graph.nodes[k]))
        if chunk and held + size > most:
            yield chunk
            chunk, held = [], 0
        chunk.append(k)
        held += size
    if chunk:
        yield chunk


def _colours(
    losses: Tensor,
    edges: list,
    before: list[Layout | None],
    exponents: Tensor,
    smallest: float,
    try_formulas: bool = True,
) -> list[Colour]:
    """Try a formula on each tensor, and read entry by entry where none holds in all probes."""
    N, ones = len(losses), weighted_gradients(losses, edges, torch.zeros_like(exponents[:, 0]))
    formulas: list[Layout | None] = [None for _ in edges]
    codes: list[Tensor | None] = [None for _ in edges]
    failed = []
    for probe, column in enumerate(exponents.T):
        half = half_of(N, probe)
        first = weighted_gradients(losses, edges, column, half)
        second = weighted_gradients(losses, edges, column, ~half)
        for k, (a, b) in enumerate(zip(first, second, strict=True)):
            one, formula, code = ones[k], formulas[k], codes[k]
            if one is None or a is None or b is None:
                continue
            g = joined(a, b)
            if probe == 0:
                if try_formulas:
                    formulas[k] = first_that_holds(one, g, column, before[k], N, smallest)
                if formulas[k] is None:
                    codes[k] = _append_digit(_known(one, smallest), one, g)
            elif formula is not None and not holds(formula, one, g, column):
                formulas[k] = None
                failed.append(k)
            elif code is not None:
                codes[k] = _append_digit(code, one, g)
    table = _sample_of_code(exponents)
    found = [
        formula or _without_finite_entry(_decode(code, table, N), one)
        for formula, code, one in zip(formulas, codes, ones, strict=True)
    ]
    if failed:
        unread = [edges[k] for k in failed]
        again = _colours(losses, unread, before, exponents, smallest, try_formulas=False)
        for k, c in zip(failed, again, strict=True):
            found[k] = c
    return found


def _by_halves(losses: Tensor, edges: list) -> list[Colour]:
    """Read entry by entry in a graph with float16."""
    N, exponents = len(losses), torch.zeros(len(losses), dtype=torch.long, device=CPU)

    def backward(chosen: Tensor | None) -> tuple[Tensor | None, ...]:
        return weighted_gradients(losses, edges, exponents, chosen)

    one = backward(None)
    found = samples_by_halves(backward, one, N)
    return [
        Uncoloured.ABSENT if index is None else _without_finite_entry(_colour_of(index, N), g)
        for index, g in zip(found, one, strict=True)
    ]


def _known(g: Tensor, smallest: float = 0.0) -> Tensor:
    """Return 0, the empty code, where an entry is large enough to be read, else NOTHING."""
    return readable(g, smallest).int() + NOTHING


def _append_digit(code: Tensor, one: Tensor, g: Tensor) -> Tensor:
    """Extend each entry's code by the exponent of the ratio g / one."""
    one, g = real(one), real(g)
    # A sum over a fixed order scales exactly; on other devices the order is free.
    exact = min(64 * torch.finfo(g.dtype).eps, 1e-3)
    tolerance = exact if g.device.type == "cpu" else 1e-2
    mantissa, exponent = torch.frexp(widened(g) / widened(one))
    above = mantissa >= 1 - tolerance  # just below the next power
    digit = exponent + above.int() - 1 - LOWEST
    is_power = above | ((mantissa - 0.5).abs() <= tolerance)
    is_power &= (digit >= 0) & (digit < CODES)
    code = torch.where(code < 0, code, torch.where(is_power, code * CODES + digit, SEVERAL))
    # Exactly zero without weights and not zero with them: contributions had cancelled.
    hidden = (one == 0) & (g.abs() >= torch.finfo(g.dtype).tiny * 2.0**20)
    return code.masked_fill_(hidden, SEVERAL)


def _sample_of_code(exponents: Tensor) -> Tensor:
    """Return the table from codes to samples, SEVERAL where no sample has the code."""
    table = exponents.new_full((CODES ** exponents.shape[1],), SEVERAL)
    code = exponents.new_zeros(len(exponents))
    for column in exponents.T:
        code = code * CODES + column - LOWEST
    table[code] = torch.arange(len(exponents), device=exponents.device)
    return table


def _without_finite_entry(found: Colour, one: Tensor | None) -> Colour:
    """A strange sample's NaN fills what is shared by all samples, and only rows of what is not."""
    strange = (
        found is Uncoloured.UNKNOWN
        and one is not None
        and one.numel() > 0  # an expert that no token chose
        and not one.isfinite().any()
    )
    return Uncoloured.MIXED if strange else found


def _decode(code: Tensor | None, table: Tensor, samples: int) -> Colour:
    if code is None:
        return Uncoloured.ABSENT
    known = table.to(code)[code.clamp_min(0)]
    return _colour_of(torch.where(code >= 0, known, code), samples)


def _colour_of(index: Tensor, samples: int) -> Colour:
    """Return the colour of a tensor from the sample of each entry."""
    if (index == SEVERAL).any():
        return Uncoloured.MIXED
    if (index == NOTHING).all():
        return Uncoloured.UNKNOWN
    return fit_layout(index, samples)
