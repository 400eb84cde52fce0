"""Losses that autograd can look into: from the code that was compiled, by checkpoints in its graph.

``torch.compile`` makes one operation of a model, and a reentrant checkpoint backpropagates by
itself; both hide parameters from the graph. While losses are computed compiling is set aside, for
whole models, layers and functions alike, and reentrant checkpoints are made like others: they
save the same memory and give the same gradients, those to parameters of a region as well that no
differentiated tensor enters.
"""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any
from weakref import WeakSet

import torch
from torch import nn
from torch.utils import checkpoint

from fimetric.fingerprint.structure import original

logger = logging.getLogger("fimetric")

_LOOKED_AT: "WeakSet[nn.Module]" = WeakSet()
_REENTRANT = checkpoint.CheckpointFunction


@contextmanager
def transparent(module: nn.Module) -> Iterator[None]:
    """Hide no parameters for a while; log once if something of the module is compiled."""
    with _NOT_REENTRANT:
        if "torch._dynamo" not in sys.modules:  # nothing is compiled, and it takes long to import
            yield
            return
        if module not in _LOOKED_AT:
            _LOOKED_AT.add(module)
            _tell(module)
        with torch.compiler.set_stance("force_eager"):
            yield


def _tell(module: nn.Module) -> None:
    if any(_is_compiled(part) for part in module.modules()):
        name = type(original(module)).__name__
        logger.info("%s is compiled: its gradients are read through the original module", name)


def _is_compiled(part: nn.Module) -> bool:
    return part is not original(part) or part._compiled_call_impl is not None


class _NotReentrant:
    """A context in which no checkpoint is reentrant; it may be entered again within itself."""

    def __init__(self) -> None:
        self._lock, self._entered = Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._entered += 1
            checkpoint.CheckpointFunction = _Transparent  # type: ignore[misc, assignment]

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._entered -= 1
            if not self._entered:
                checkpoint.CheckpointFunction = _REENTRANT  # type: ignore[misc]


_NOT_REENTRANT = _NotReentrant()


class _Transparent:
    """What ``torch.utils.checkpoint.checkpoint`` applies in place of a reentrant function."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *inputs: Any) -> Any:
        """Run a region; it runs once more in backpropagation, and all regions within it too."""

        def region(*inputs: Any) -> Any:
            with _NOT_REENTRANT:
                return function(*inputs)

        return checkpoint.checkpoint(
            region, *inputs, use_reentrant=False, preserve_rng_state=preserve_rng_state
        )
