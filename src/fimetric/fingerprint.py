"""Fingerprints: has this model, have these data, been seen before?"""

import hashlib

import torch
from torch import Tensor, nn


def model_fingerprint(module: nn.Module) -> str:
    """Return a hash of the names, shapes and values of all parameters and buffers.

    Device and training flags do not change it; a changed weight, name or number format does.
    """
    digest = hashlib.sha256()
    for name, x in sorted(module.state_dict().items()):
        if isinstance(x, Tensor):
            digest.update(f"{name} {x.dtype} {tuple(x.shape)}\n".encode())
            update(digest, x)
    return digest.hexdigest()


def update(digest: "hashlib._Hash", x: Tensor) -> None:
    """Add the bytes of a tensor to a hash."""
    flat = x.detach().cpu().contiguous().reshape(-1)
    digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
