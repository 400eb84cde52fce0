"""Noise that depends on a seed and a name only, so that a score depends on the sample alone."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


def fixed_noise(seed: int, name: str, shape: Sequence[int], like: Tensor, kind: str) -> Tensor:
    """Return one draw for one sample, expanded to all samples of a batch.

    The draw is made on the CPU in float32 and then moved, so that neither the batch, nor a sample's
    place in it, nor the device or number format, nor an earlier call changes it.

    Arguments:
        seed: of the objective.
        name: of the view.
        shape: of one sample's noise.
        like: a batch (N, ...) with the device and the number format wanted.
        kind: ``normal``, or ``uniform`` in [0, 1).

    Returns:
        (N, *shape), the same for all samples.
    """
    noise = _draw(f"{seed}/{name}/{kind}".encode(), shape, kind).to(like)
    return noise.expand(len(like), *shape)


def own_noise(seed: int, name: str, shape: Sequence[int], like: Tensor, kind: str) -> Tensor:
    """Return a draw for each sample, told by the sample's content: the same one each time.

    Arguments and result are those of :func:`fixed_noise`.
    """
    key = f"{seed}/{name}/{kind}/".encode()
    draws = [_draw(key + x.numpy().tobytes(), shape, kind) for x in like.detach().float().cpu()]
    return torch.stack(draws).to(like)


def drawn(kind: str, shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Return the next draw of a generator, on the CPU, in float32 whatever torch's default is.

    The number format decides which numbers are drawn, not only how they are rounded.
    """
    draw = torch.randn if kind == "normal" else torch.rand
    return draw(tuple(shape), generator=generator, dtype=torch.float32)


def _draw(key: bytes, shape: Sequence[int], kind: str) -> Tensor:
    digest = hashlib.sha256(key).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return drawn(kind, shape, generator)
