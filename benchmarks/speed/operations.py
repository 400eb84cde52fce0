"""How many operations a call makes, and how often it waits for the device.

On a GPU every operation but a view is a kernel to launch, some microseconds each, and to look at a
number means to wait until all that was launched is done. Both can be counted on any device.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations whose result, or the size of it, is needed on the processor. What asks whether a
# tensor holds comes down to the first.
WAITING = (
    *("aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select"),
    *("aten::_unique2", "aten::unique_dim", "aten::unique_consecutive", "aten::bincount"),
)


class Operations(TorchDispatchMode):
    """Counts while it is entered, backpropagation included."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Number of operations that are no mere views."""
        return self.counts.total()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        name, kwargs = function._schema.name, kwargs or {}
        found = function(*args, **kwargs)
        if not function.is_view:
            self.counts[name] += 1
        if name in WAITING or _moves(args, found):
            self.waits[name] += 1
        return found


def _moves(args: tuple, found: object) -> bool:
    """Return whether numbers went from the processor to a device or back, which waits as well."""
    tensors = [a for a in tree_leaves(args) if isinstance(a, Tensor) and a.dim() > 0]
    kinds = {t.device.type for t in (*tensors, found) if isinstance(t, Tensor)}
    return "cpu" in kinds and len(kinds) > 1


def counted(work: Callable[[], object]) -> Operations:
    with Operations() as found:
        work()
    return found
