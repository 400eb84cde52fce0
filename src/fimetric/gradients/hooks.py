"""Hooks on gradients: those of a parameter are applied, any other must change nothing.

A parameter's hook gets the gradient of one sample at a time, as in a loop over samples. What a hook
further up gets here holds the gradients of all samples, and what it makes of them need not be what
it makes of each: clipping by a norm mixes them. PyTorch does not show such hooks, so each gradient
is watched as it leaves one operation and arrives at the next. They sit on a graph and have to be
registered anew in each forward pass, and torch numbers what is registered: no new number, no hook.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.graph import Node
from torch.utils.hooks import RemovableHandle

from fimetric.gradients.contributions import Contribution, Dense, squared_norms
from fimetric.gradients.graph import Graph
from fimetric.gradients.reference import untouched

REMEDY = "remove it (handle.remove(), or the line that registers it)"
WEIGHTS = (1.0, 2.0**8)  # as large as the colouring's: a clip that acts there must not mislead it
Hook = Callable[..., Any]


class Registered:
    """Counts the hooks that were ever registered in this process, but for the engine's own."""

    _own: ClassVar[int] = 0

    @classmethod
    def count(cls) -> int:
        """Return their number."""
        return RemovableHandle.next_id - cls._own

    @classmethod
    def on(cls, tensor: Tensor, hook: Hook) -> RemovableHandle:
        """Register a hook of the engine on a tensor."""
        cls._own += 1
        return tensor.register_hook(hook)

    @classmethod
    def prehook(cls, node: Node, hook: Hook) -> RemovableHandle:
        """Register a hook of the engine before an operation."""
        cls._own += 1
        return node.register_prehook(hook)

    @classmethod
    def posthook(cls, node: Node, hook: Hook, first: bool) -> RemovableHandle:
        """Register a hook of the engine after an operation, before or after all others."""
        cls._own += 1
        handle = node.register_hook(hook)
        every = handle.hooks_dict_ref()
        if first and every is not None and len(every) > 1:
            others = [(key, other) for key, other in every.items() if other is not hook]
            every.clear()
            every.update([(handle.id, hook), *others])
        return handle


def refuse_accumulating(named: Mapping[str, Tensor]) -> None:
    """Raise where a hook waits for gradients to be accumulated, which they never are here.

    Raises:
        RuntimeError: naming the parameter and the hook.
    """
    for name, parameter in named.items():
        for hook in (getattr(parameter, "_post_accumulate_grad_hooks", None) or {}).values():
            raise RuntimeError(
                f"{name!r} has a hook of register_post_accumulate_grad_hook ({_name(hook)}), "
                f"which sees gradients of whole batches alone; {REMEDY}"
            )


@contextmanager
def taken(parameters: Sequence[Tensor]) -> Iterator[list[list[Hook]]]:
    """Take the parameters' own hooks away for a while, so that no part of a gradient meets them.

    Yields:
        The hooks of each parameter, in their order.
    """
    own: list[dict[int, Hook]] = [p._backward_hooks or {} for p in parameters]
    kept = [dict(each) for each in own]
    for each in own:
        each.clear()
    try:
        yield [list(each.values()) for each in kept]
    finally:
        for each, hooks in zip(own, kept, strict=True):
            each.update(hooks)


def through_hooks(
    contribution: Contribution, hooks: Sequence[Hook], kind: torch.dtype, name: str
) -> Contribution:
    """Return what a parameter's hooks make of the gradient of each sample.

    Arguments:
        contribution: the samples' gradients.
        hooks: of the parameter.
        kind: of the parameter.
        name: of the parameter.

    Raises:
        RuntimeError: naming the parameter and the hook, where it fails.
    """
    if not hooks:
        return contribution
    before = contribution.dense().to(kind)
    with torch.no_grad():
        after = torch.stack([_passed(g.clone(), hooks, name) for g in before])
    growth = (squared_norms(after) / squared_norms(before)).sqrt().nan_to_num(1.0, posinf=1.0)
    return Dense(after, contribution.scale() * growth.clamp_min(1.0))


def _passed(g: Tensor, hooks: Sequence[Hook], name: str) -> Tensor:
    for hook in hooks:
        try:
            found = hook(g)
        except Exception as error:
            raise RuntimeError(
                f"the hook of register_hook on {name!r} ({_name(hook)}) fails on the gradient of "
                f"one sample: {error}; {REMEDY}"
            ) from error
        g = g if found is None else found
    return g


def refuse_changing(graph: Graph, losses: Tensor, parameters: Sequence[Tensor]) -> None:
    """Raise where a hook changes a gradient on its way from the losses (N,) to the parameters.

    Raises:
        RuntimeError: naming the operation.
    """
    for weight in WEIGHTS if graph.leaves else ():
        changed = _changed(graph, losses, parameters, weight)
        if changed is not None:
            raise RuntimeError(
                f"a hook changes the gradient at {changed}, above the parameters (register_hook on "
                "a tensor, or a module's backward hook), so the gradient of one sample cannot be "
                f"told from that of the batch; {REMEDY}"
            )


def _changed(
    graph: Graph, losses: Tensor, parameters: Sequence[Tensor], weight: float
) -> str | None:
    """Return the operation at which a hook changes the gradient of weighted losses.

    Raises:
        RuntimeError: autograd's as it is, where no function in Python may hide parameters.
    """
    watch = _Watch(graph, losses, weight)
    with watch, taken(parameters), untouched(parameters):
        try:
            torch.autograd.grad(
                losses,
                [parameters[j] for j in graph.leaves.values()],
                watch.start,
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError:  # of a function that hides parameters, which is looked at elsewhere
            if not graph.python_functions:
                raise
    return watch.changed


Sent = tuple[Tensor, int]  # a gradient and its version when it was sent


class _Watch:
    """Compares what leaves an operation with what arrives at the next, while in its context."""

    def __init__(self, graph: Graph, losses: Tensor, weight: float) -> None:
        self.graph, self.start = graph, torch.full_like(losses, weight)
        self.changed: str | None = None
        self._sent: dict[tuple[int, int], list[Sent]] = defaultdict(list)
        self._sent[graph.root, losses.output_nr].append((self.start, self.start._version))
        self._made: dict[int, list[Sent | None]] = {}
        self._handles: list[RemovableHandle] = []

    def __enter__(self) -> None:
        for k, node in enumerate(self.graph.nodes):
            if self.graph.edges[k]:  # no leaf
                self._handles += [
                    Registered.prehook(node, self._arrival(k)),
                    Registered.posthook(node, self._making(k), first=True),
                    Registered.posthook(node, self._departure(k), first=False),
                ]

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _arrival(self, node: int) -> Hook:
        def arrive(gradients: Sequence[Tensor | None]) -> None:
            for k, g in enumerate(gradients):
                sent = self._sent.pop((node, k), [])
                if g is not None and sent and not _same(sent, g):
                    self._note(node)

        return arrive

    def _making(self, node: int) -> Hook:
        def make(found: Sequence[Tensor | None], _: object) -> None:
            self._made[node] = [None if g is None else (g, g._version) for g in found]

        return make

    def _departure(self, node: int) -> Hook:
        def depart(found: Sequence[Tensor | None], _: object) -> None:
            pairs = zip(self._made.pop(node), found, self.graph.edges[node], strict=True)
            for made, g, edge in pairs:
                if not _as_made(made, g):
                    self._note(node)
                if g is not None and edge is not None:
                    self._sent[edge].append((g, g._version))

        return depart

    def _note(self, node: int) -> None:
        shapes = ", ".join(str(tuple(shape)) for shape in self.graph.shapes(node))
        self.changed = self.changed or f"{self.graph.name(node)} of shape {shapes}"


def _as_made(made: Sent | None, g: Tensor | None) -> bool:
    """Return whether an operation's hooks left one of its gradients as it was."""
    return g is None if made is None else g is not None and _same([made], g)


def _same(sent: Sequence[Sent], g: Tensor) -> bool:
    """Return whether a gradient is the sum of what was sent, but for rounding."""
    if any(part._version != version for part, version in sent):
        return False
    if len(sent) == 1 and (sent[0][0] is g or torch.equal(sent[0][0], g)):
        return True
    parts = [part for part, _ in sent]
    if any(part.layout != torch.strided for part in (*parts, g)):
        return True
    size, total = sum(part.abs() for part in parts), sum(parts)
    assert isinstance(total, Tensor) and isinstance(size, Tensor)  # there is one part at least
    unlike = (total - g).abs() > 8 * torch.finfo(g.dtype).eps * size
    return not bool((unlike & total.isfinite()).any())


def _name(hook: Hook) -> str:
    return getattr(hook, "__qualname__", type(hook).__qualname__)
