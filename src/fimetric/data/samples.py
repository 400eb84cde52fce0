"""Samples: a data set in memory, 8-bit images kept as 8 bits."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from fimetric.arguments import shown


class Samples(Dataset[dict[str, Any]]):
    """Creates a data set of N samples of one shape, each with an id.

    An item is ``{"x": float32 tensor, "id": str}``; uint8 values k are images and come out as
    k/255.

    Arguments:
        values: uint8 (N, C, H, W) images, or float (N, ...), taken as it is.
        ids: N strings; by default ``<name>/<index>``.
        name: What to call the set in messages and default ids.

    Raises:
        ValueError: for empty data, another number of ids, or a value that is not finite (named).
        TypeError: for values that are neither uint8 nor float.
    """

    def __init__(
        self, values: Tensor, ids: Sequence[str] | None = None, name: str = "samples"
    ) -> None:
        """Check and store.

        Raises:
            TypeError: for what is no tensor, or values that are neither uint8 nor float.
            ValueError: for no samples, another number of ids, or values that are not finite.
        """
        if not isinstance(values, Tensor):
            raise TypeError(f"{name} must be a tensor, not {shown(values)}; torch.as_tensor it")
        if values.ndim < 2 or len(values) == 0:
            raise ValueError(
                f"{name} is empty or has no sample dimension: shape {tuple(values.shape)}"
            )
        self.quantised = values.dtype == torch.uint8
        if not self.quantised:
            if not values.is_floating_point():
                raise TypeError(
                    f"{name} has values of {values.dtype}; give uint8 images or float data"
                )
            values = values.float()
        self.ids = [f"{name}/{i}" for i in range(len(values))] if ids is None else list(ids)
        if len(self.ids) != len(values):
            raise ValueError(f"{name} has {len(values)} samples but {len(self.ids)} ids")
        self.name, self.values = name, values
        if not self.quantised:
            check_finite(values, self.ids, name)

    def __len__(self) -> int:
        """Return N."""
        return len(self.values)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return sample and id; an index out of range raises IndexError, so that iteration ends."""
        return {"x": self._scaled(self.values[index]), "id": self.ids[index]}

    def _scaled(self, values: Tensor) -> Tensor:
        return values.float() / 255 if self.quantised else values

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (C, H, W) for images."""
        return tuple(self.values.shape[1:])

    def tensor(self, indices: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return float32 (n, ...) of the samples at ``indices``, by default all."""
        if indices is None:
            return self._scaled(self.values)
        return self._scaled(self.values[torch.as_tensor(indices)])

    def select(self, indices: Sequence[int] | Tensor) -> "Samples":
        """Return the samples at ``indices``, in that order, under their ids."""
        chosen = torch.as_tensor(indices)
        return Samples(self.values[chosen], [self.ids[i] for i in chosen.tolist()], self.name)


def check_finite(x: Tensor, ids: Sequence[str], name: str) -> None:
    """Check that the values of x (N, ...) are finite.

    Raises:
        ValueError: naming the first sample with a NaN or an infinity; for x on the meta device.
    """
    if x.is_meta:
        raise ValueError(f"{name} is on the meta device, which holds no numbers; put it on the cpu")
    if not (x.is_floating_point() or x.is_complex()):
        return
    finite = x.flatten(1).isfinite().all(1) if x.ndim > 1 else x.isfinite()
    if not finite.all():
        row = int((~finite).nonzero()[0])
        raise ValueError(
            f"{name}: sample {ids[row]} (row {row}) has values that are NaN or infinite; "
            "remove or repair it"
        )
