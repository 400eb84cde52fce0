"""Random small networks: a hypothesis strategy of programs that map a batch to losses.

What hypothesis prints where a program fails is Python, and can be pasted into the zoo as a case.
"""

from typing import Any

from hypothesis import strategies as st
from random_operations import OPERATIONS, embedded_tokens
from random_program import Program, Sketch, State

INPUTS = [(4,), (1,), (3, 4), (4, 4), (2, 6), (2, 4, 3), (3, 3, 5), (2, 2, 3, 3)]
SAMPLES = [1, 2, 3, 4, 5, 7]
DATA = ["normal", "normal", "normal", "zero", "partly zero", "sparse", "whole", "repeated"]
PURE = [
    "{0}.square().sum()",
    "(1.5 + {0}.square()).log().sum()",
    "{0}.logsumexp(0)",
    "{0}.exp().mean()",
]
Parameters = dict[str, tuple[tuple[int, ...], str]]
BEGINNINGS = [
    function.__name__
    for applies, function, _ in OPERATIONS
    if any(applies(State((0, *sizes))) for sizes in INPUTS)
]


@st.composite
def programs(
    draw: Any, shared: Parameters | None = None, longest: int = 7, first: str | None = None
) -> Program:
    """Draw a program.

    Arguments:
        shared: parameters that it may use beside its own.
        longest: number of statements.
        first: name of the operation that it begins with.
    """
    samples, group = draw(st.sampled_from(SAMPLES)), draw(st.sampled_from([1, 1, 1, 2, 3]))
    applies, begin, _ = next(o for o in OPERATIONS if first in (None, o[1].__name__))
    inputs = [sizes for sizes in INPUTS if first is None or applies(State((0, *sizes)))]
    sizes, tokens = draw(st.sampled_from(inputs)), first is None and draw(st.integers(0, 5)) == 5
    sizes = tuple(samples if n == 3 and samples > 1 else n for n in sizes)
    sizes = sizes[:2] if tokens else sizes
    b = Sketch(draw, State((0, *sizes)), dict(shared or {}), tokens, samples)
    lines = [f"h = {embedded_tokens(b)}" if tokens else "h = x"]
    lines += [] if first is None else [f"h = {begin(b)}"]
    lines += [f"h = {_step(b)}" for _ in range(draw(st.integers(1, longest)))]
    lines += _losses(b)
    if b.seldom():
        b.parameter(2, 3)  # not used
    seed, data = draw(st.integers(0, 999)), b.pick(DATA)
    return Program(tuple(lines), b.parameters, sizes, tokens, samples, group, data, seed)


def _step(b: Sketch) -> str:
    """Draw one statement: an operation, a residual, a checkpoint or a switch."""
    form = b.pick(["plain"] * 5 + ["residual", "checkpoint", "switch", "twice"])
    if form == "plain" or form == "checkpoint":
        found = _operation(b, keeping=False)
        return (
            f"checkpoint(lambda h: {found}, h, use_reentrant=False)" if form != "plain" else found
        )
    first = _operation(b, keeping=True)
    if form == "residual":
        return f"h + {first}"
    if form == "twice":
        return f"(lambda f: f(f(h)))(lambda h: {first})"
    return f"({first}) if switch else ({_operation(b, keeping=True)})"


def _operation(b: Sketch, keeping: bool) -> str:
    keeping |= b.state.count > 64
    usable = [f for when, f, keeps in OPERATIONS if when(b.state) and (keeps or not keeping)]
    return b.pick(usable)(b)


def _losses(b: Sketch) -> list[str]:
    """Reduce h to one number per sample, and add terms of parameters alone."""
    s = b.state
    lines = [f"h = {b.pick(['h.square()', 'h.tanh()', 'h.pow(3)', 'h', '(h - 1).square()'])}"]
    if s.axes:
        lines.append(f"h = h.{b.pick(['sum', 'sum', 'mean', 'logsumexp'])}({tuple(s.axes)})")
    if not s.plain:
        lines.append(f"h = h.view({s.outer}, -1, {s.inner}).sum((0, 2))")
    if b.parameters and b.seldom(2):
        term = b.pick(PURE).format(b.parameter(b.pick([1, 3])))
        lines.append(f"h = h {b.pick('+-*')} {term}")
    return [*lines, "return h"]
