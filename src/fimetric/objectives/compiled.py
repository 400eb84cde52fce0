"""Compiled models: their losses come from the code that was compiled, run as it stands.

``torch.compile`` makes one operation of a model, which hides its parameters from autograd's graph.
While losses are computed it is set aside, for whole models, for layers and for functions alike.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakSet

import torch
from torch import nn

from fimetric.fingerprint.structure import original

logger = logging.getLogger("fimetric")

_LOOKED_AT: "WeakSet[nn.Module]" = WeakSet()


@contextmanager
def uncompiled(module: nn.Module) -> Iterator[None]:
    """Run everything as if nothing were compiled; log once if something of the module is."""
    if "torch._dynamo" not in sys.modules:  # so nothing is compiled, and it takes seconds to import
        yield
        return
    if module not in _LOOKED_AT:
        _LOOKED_AT.add(module)
        if any(_is_compiled(part) for part in module.modules()):
            logger.info(
                "%s is compiled: its gradients are read through the original module",
                type(original(module)).__name__,
            )
    with torch.compiler.set_stance("force_eager"):
        yield


def _is_compiled(part: nn.Module) -> bool:
    return part is not original(part) or part._compiled_call_impl is not None
