"""The bytes of a tensor, however it is stored, into a hash."""

import hashlib

import torch
from torch import Tensor

COMPILED = "_orig_mod."  # what torch.compile puts in front of the names of a module's parts


def update(digest: "hashlib._Hash", x: Tensor) -> None:
    """Add the bytes of a tensor to a hash."""
    for part in stored(x):
        flat = part.cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")


def stored(x: Tensor) -> tuple[Tensor, ...]:
    """Return the dense tensors that hold a tensor's numbers: indices and values of a sparse one."""
    x = x.detach()
    if x.layout == torch.strided:
        return (x.dequantize() if x.is_quantized else x,)
    if x.layout == torch.sparse_coo:
        x = x.coalesce()
        return x.indices(), x.values()
    if x.layout in (torch.sparse_csr, torch.sparse_bsr):
        return x.crow_indices(), x.col_indices(), x.values()
    if x.layout in (torch.sparse_csc, torch.sparse_bsc):
        return x.ccol_indices(), x.row_indices(), x.values()
    return (x.to_dense(),)
