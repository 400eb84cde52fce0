"""Checkpointed regions: what their nodes have saved is computed anew while backpropagation passes.

PyTorch lets it be read once: by whoever asks first, and then no more by the node itself. So it is
told to forget that a tensor was read while it is read here. Outside of a backpropagation
each reading would run the region again; within a group of readings they share one run.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.utils import checkpoint

_HOLDER = getattr(checkpoint, "_Holder", ())  # what stands for a tensor until it is computed anew
Group = getattr(checkpoint, "GraphExecGroup", nullcontext)  # PyTorch 2.9 has none: slower


class _Kept(dict[Any, Any]):
    """Handles of tensors that were computed anew, which reading does not take away."""

    def __setitem__(self, reading: Any, handle: Any) -> None:
        if handle is not None:
            super().__setitem__(reading, handle)


@contextmanager
def readable(node: Any, group: Any) -> Iterator[None]:
    """Let what a node has saved be read any number of times, and by the node itself afterwards.

    Arguments:
        node: of the graph.
        group: a ``Group``, for readings outside of a backpropagation.
    """
    holders = _holders(node)
    if not holders:
        yield
        return
    for holder in holders:
        holder.handles = _Kept(holder.handles)
    within = torch._C._current_graph_task_id() >= 0
    try:
        with nullcontext() if within else group:
            yield
    finally:
        for holder in holders:
            holder.handles = dict(holder.handles)


def forget(nodes: Iterable[Any]) -> None:
    """Free what was computed anew and that nobody has read, in a graph that is kept."""
    for node in nodes:
        for holder in _holders(node):
            holder.handles.clear()


_names: dict[type, list[str]] = {}  # of the attributes of each class of nodes that hold tensors


def _holders(node: Any) -> list[Any]:
    kind = type(node)
    if kind not in _names:
        _names[kind] = [name for name in dir(kind) if name.startswith("_raw_saved_")]
    found = []
    for name in _names[kind]:
        saved = getattr(node, name)
        for tensor in saved if isinstance(saved, tuple | list) else (saved,):
            data = getattr(tensor, "data", None)
            if isinstance(data, _HOLDER):
                found.append(data)
    return found
