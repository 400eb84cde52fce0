"""Values that are missing or infinite, refused by the name of their sample."""

from collections.abc import Sequence

from torch import Tensor


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
