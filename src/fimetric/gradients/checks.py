"""Checks, not trust: what comes in, and one sample against plain autograd.

Two gradients count as equal where their squared norms a and b obey
|a - b| <= rtol b + (64 eps S)^2, S the sum of the norms of the terms that were added up. Where
terms cancel to a structural zero (the bias of a convolution before a normalisation) both are
rounding noise below that bound, and no relative tolerance could hold. Where what cancels lies
further up, S does not show it; then autograd itself tells how much of its result is noise.
"""

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.arguments import shown
from fimetric.gradients.checkpoints import forget
from fimetric.gradients.graph import Graph
from fimetric.gradients.reference import gradient_of_one, hidden_gradient_of_one, untouched
from fimetric.gradients.squares import square, squares_of_one

logger = logging.getLogger("fimetric")
# In units of eps times the sum of the terms' norms: what cancels exactly was found to leave 3 at
# most, and .6 in bfloat16, where ordinary gradients of a language model begin at 9.
ROUNDING, COARSE_ROUNDING = 64.0, 4.0
SECOND = "backward through the graph a second time"  # autograd's words for a freed graph
NOISE = 32.0  # times what autograd's own result moves when all its roundings change


def trainable_parameters(module: Any) -> dict[str, Tensor]:
    """Return the parameters with gradients by name; a tied one once, under its first name.

    Arguments:
        module: a module, or an iterable of (name, parameter).

    Raises:
        TypeError: for anything else.
        ValueError: where two have the same name, or there is none.
    """
    trainable: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, parameter in _named_parameters(module):
        if name in trainable:
            raise ValueError(f"two parameters are called {name!r}; names must differ")
        if parameter.requires_grad and id(parameter) not in seen:
            seen.add(id(parameter))
            trainable[name] = parameter
    if not trainable:
        raise ValueError(
            "no trainable parameter: every parameter has requires_grad=False, or there is none"
        )
    return trainable


def _named_parameters(module: Any) -> list[tuple[str, Tensor]]:
    """Return the (name, parameter) pairs of a module, or of an iterable of them.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(module, nn.Module):
        return list(module.named_parameters())
    named: list[Any] = list(module) if isinstance(module, Iterable) else [None]
    for pair in named:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[1], Tensor):
            raise TypeError(
                f"pass a module or (name, parameter) pairs, as named_parameters() gives, not "
                f"{shown(module)}"
            )
    return named


def refuse_losses(losses: Any) -> None:
    """Refuse losses that are not (N,) real numbers with a graph.

    Raises:
        ValueError: saying what they are.
    """
    if not isinstance(losses, Tensor) or losses.dim() != 1 or len(losses) == 0:
        shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise ValueError(f"losses must be a tensor (N,), one number per sample; got {shape}")
    if not losses.is_floating_point():
        raise ValueError(f"losses must be real floating-point numbers, not {losses.dtype}")
    if losses.grad_fn is None:
        raise ValueError(
            "losses have no graph: compute them from the model outside torch.no_grad() and "
            "without detach()"
        )


def refuse_foreign_graphs(graph: Graph) -> None:
    """Refuse a graph that cannot be that of the model itself.

    Raises:
        RuntimeError: for a compiled model, which hides its parameters.
        ValueError: for losses that use none of the parameters.
    """
    if any(graph.name(node) == "CompiledFunctionBackward" for node in range(len(graph.nodes))):
        raise RuntimeError(
            "CompiledFunctionBackward hides the parameters of a compiled model: compute the losses "
            "with the original module, compiled._orig_mod (both share their parameters), or inside "
            'torch.compiler.set_stance("force_eager")'
        )
    if not graph.reached[graph.root] and not graph.python_functions:
        raise ValueError(
            "the losses use none of the parameters, so there is no gradient to measure"
        )


def hides_parameters(graph: Graph, losses: Tensor, named: dict[str, Tensor]) -> str | None:
    """Return the function written in Python that hides parameters from the graph, if there is one.

    A reentrant checkpoint, or a reversible layer, calls ``backward()`` on a graph of its own.

    Raises:
        RuntimeError: autograd's as it is, where no checkpoint explains it.
    """
    if not graph.python_functions:
        return None
    names = {graph.name(node) for node in graph.python_functions}
    parameters = list(named.values())
    try:
        with untouched(parameters):
            seen = _numbers(map(square, gradient_of_one(losses, parameters, 0)))
    except RuntimeError as error:
        if "CheckpointFunctionBackward" in names:
            return "CheckpointFunctionBackward"
        raise error
    all_of_it = _numbers(map(square, hidden_gradient_of_one(losses, parameters, 0)))
    for a, b in zip(seen, all_of_it, strict=True):
        if abs(a - b) > 1e-2 * max(a, b):
            return ", ".join(sorted(names))
    return None


@contextmanager
def freed_graph_named() -> Iterator[None]:
    """Say what to do where a graph that was freed is read again.

    Raises:
        RuntimeError: in place of autograd's for a freed graph; any other as it is.
    """
    try:
        yield
    except RuntimeError as error:
        if SECOND not in str(error):
            raise
        raise RuntimeError(
            "an earlier call has read the graph of these losses and freed it, so it cannot be read "
            "a second time; compute the losses anew, or pass retain_graph=True to the earlier call"
        ) from error


def give_up(losses: Tensor) -> None:
    """Mark a graph as one that is not to be read again, where reading it has not freed it."""
    _notes(losses)[SECOND] = True


def refuse_given_up(losses: Tensor) -> None:
    """Refuse such a graph, as autograd refuses those that were freed.

    Raises:
        RuntimeError: with autograd's own words.
    """
    if SECOND in _notes(losses):
        raise RuntimeError(SECOND)


def _notes(losses: Tensor) -> dict[str, Any]:
    node: Any = losses.grad_fn
    return node.metadata


def rounding_bound(scale: Tensor, eps: float) -> Tensor:
    """Return the squared norm below which a gradient cannot be told from rounding noise."""
    units = COARSE_ROUNDING if eps > torch.finfo(torch.float16).eps else ROUNDING
    return (units * eps * scale) ** 2


def coarsest_eps(graph: Graph, parameters: Sequence[Tensor]) -> float:
    """Return the rounding unit of the least precise number format that the graph computes in."""
    kinds = {m.dtype for node in graph.nodes for m in node._input_metadata}
    kinds |= {p.dtype for p in parameters}
    return max(torch.finfo(k).eps for k in kinds if k.is_floating_point or k.is_complex)


def still_agrees(
    graph: Graph, losses: Tensor, table: Tensor, bound: Tensor, named: dict[str, Tensor], turn: int
) -> bool:
    """Check a plan that is not new: data may route samples in a way that no index shows.

    The sample is that whose turn it is; the rest as in ``check_sample``.
    """
    eps = coarsest_eps(graph, list(named.values()))
    try:
        check_sample(graph, losses, table, bound, named, eps, turn % len(losses))
    except RuntimeError as error:
        logger.warning(
            "the model moves samples about in a way that changes with the data; colours are "
            "read anew in every batch from now on, and earlier batches may be wrong: %s",
            error,
        )
        return False
    return True


def check_sample(
    graph: Graph,
    losses: Tensor,
    table: Tensor,
    bound: Tensor,
    named: dict[str, Tensor],
    eps: float,
    sample: int,
) -> None:
    """Compare one sample of the table with plain autograd on the same graph, tensor by tensor.

    Arguments:
        graph: of the losses, which is kept.
        losses: (N,).
        table: (N, J) squared norms.
        bound: (N, J) or (J,) squared norms that are rounding noise.
        named: the J parameters.
        eps: rounding unit of the coarsest number format.
        sample: which to compare.

    Raises:
        RuntimeError: naming the first tensor that differs.
    """
    parameters = list(named.values())
    expected = _numbers(squares_of_one(losses, parameters, sample))
    forget(graph.nodes)
    row, allowed = table[sample].tolist(), bound.expand_as(table)[sample].tolist()
    # Devices with reduced-precision products, such as TF32, have less than their format says.
    rtol = 3 * eps**0.5 if losses.device.type == "cpu" else max(1e-2, 3 * eps**0.5)
    noise: list[float] | None = None
    for j, name in enumerate(named):
        want, got = expected[j], row[j]
        if not math.isfinite(want):  # another sample's NaN spoils what autograd adds up
            continue
        slack = rtol * want + allowed[j]
        if abs(got - want) <= slack:
            continue
        noise = noise or _noise(losses, parameters, sample, expected)
        if not abs(got - want) <= slack + NOISE * noise[j]:
            raise RuntimeError(
                f"the squared gradient norm of {name!r} for sample {sample} is {got:.6g} by the "
                f"engine but {want:.6g} by torch.autograd; please report this model. "
                "fimetric.gradients.reference computes it by the plain loop."
            )


def _numbers(squares: Iterable[Tensor | None]) -> list[float]:
    """Return them as numbers, fetched at once: a device is waited for."""
    squares = list(squares)
    found = [square for square in squares if square is not None]
    numbers = iter(torch.stack([x.to(found[0].device) for x in found]).tolist() if found else [])
    return [0.0 if square is None else next(numbers) for square in squares]


def _noise(
    losses: Tensor, parameters: Sequence[Tensor], sample: int, expected: Sequence[float]
) -> list[float]:
    """Return how far autograd's squared norms move when every product is rounded otherwise."""
    found = [0.0] * len(expected)
    for factor in (1.1, 1.3, 0.7):
        scaled = _numbers(squares_of_one(losses, parameters, sample, factor))
        for j, (norm, want) in enumerate(zip(scaled, expected, strict=True)):
            found[j] = max(found[j], abs(norm / factor**2 - want))
    return found
