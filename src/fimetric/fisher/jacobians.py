"""The log-determinant of a representation by automatic differentiation: the oracle of its own."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import jacrev

from fimetric.fisher.representations import Representation

BLOCK = 192  # dimensions to a block of pixels; D of them cost D * BLOCK numbers
MOST = 4096  # dimensions of a full Jacobian: 134 MB in float64


def log_det_by_jacrev(transform: Representation, x: Tensor) -> Tensor:
    """Return log |det dT/dx| of one sample from the whole Jacobian, in nats.

    Where T maps every pixel by itself the Jacobian is block diagonal; then it is taken for some
    pixels at a time, all of them in turn, and the size of x does not matter. Otherwise it is taken
    at once, (D, D) for D dimensions.

    Arguments:
        transform: T.
        x: (C, *), one sample, float64 for an oracle.

    Raises:
        ValueError: for more than 4,096 dimensions to a Jacobian, or a map that says to treat
            pixels apart and does not.
    """
    blocks = list(_blocks(transform, x))
    largest = max(block.numel() for block in blocks)
    if largest > MOST:
        raise ValueError(
            f"the Jacobian of {transform.name} at {largest} dimensions is too large to check; pass "
            f"samples of at most {MOST}, or set per_pixel where each pixel is mapped by itself"
        )
    return torch.stack([_log_det(transform, block) for block in blocks]).sum()


def _log_det(transform: Representation, x: Tensor) -> Tensor:
    def flat(values: Tensor) -> Tensor:
        return transform(values.reshape(1, *x.shape)).y.flatten()

    jacobian = jacrev(flat, chunk_size=256)(x.flatten())
    return torch.linalg.slogdet(jacobian.detach())[1]


def _blocks(transform: Representation, x: Tensor) -> Iterator[Tensor]:
    """Yield x (C, *), or pixels of it as images (C, 1, k).

    Raises:
        ValueError: where a pixel of y depends on other pixels although T says that none does.
    """
    if not transform.per_pixel or x.dim() < 2:
        yield x
        return
    pixels, whole = x.flatten(1), transform(x[None]).y[0].flatten(1)
    step = max(BLOCK // len(x), 1)
    for a in range(0, pixels.shape[1], step):
        block = pixels[:, a : a + step].unsqueeze(1)
        alone = transform(block[None]).y[0].squeeze(1)
        if not torch.allclose(alone, whole[:, a : a + step], rtol=1e-9, atol=1e-9, equal_nan=True):
            raise ValueError(
                f"{transform.name} has per_pixel = True, but pixels {a} to {a + block.shape[2] - 1}"
                " come out otherwise without the rest of the image; set per_pixel = False"
            )
        yield block
