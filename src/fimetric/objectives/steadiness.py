"""Models that change in their own forward pass: the next batch would meet another model.

What is known to do so is refused by its name; anything else shows in the tensors, which are the
same after a forward pass as before.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm


def refuse_training_mode(module: nn.Module) -> None:
    """Raise where a layer in training mode would make losses random or mix samples.

    Raises:
        RuntimeError: naming the layer.
    """
    for name, layer in _unruly(module):
        raise RuntimeError(
            f"{name or 'the model'} ({type(layer).__name__}) is in training mode, so a loss would "
            "not be a function of its sample alone; call model.eval()"
        )


def _unruly(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in module.named_modules():
        if not layer.training:
            continue
        drops = isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout > 0
        drops |= isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if drops or isinstance(layer, nn.modules.batchnorm._BatchNorm):
            yield name, layer


def refuse_changing(module: nn.Module) -> None:
    """Raise where a layer is known to change itself in each forward pass.

    Raises:
        RuntimeError: naming the layer and the remedy.
    """
    for name, layer in module.named_modules():
        what = f"{name or 'the model'} ({type(layer).__name__})"
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.max_norm is not None:
            raise RuntimeError(
                f"{what} has max_norm={layer.max_norm}, so that each forward pass changes the rows "
                "of its weight that it looks up; shorten them once (torch.renorm(weight, "
                f"{layer.norm_type}, 0, {layer.max_norm})) and set max_norm=None"
            )
        if layer.training and _iterates(layer):
            raise RuntimeError(
                f"{what} has a spectral norm in training mode, so that each forward pass changes "
                "its estimate; call model.eval()"
            )


def _iterates(layer: nn.Module) -> bool:
    """Return whether a layer normalises by an estimate that it improves while in training mode."""
    hooks = layer._forward_pre_hooks.values()
    return isinstance(layer, _SpectralNorm) or any(isinstance(h, SpectralNorm) for h in hooks)


@contextmanager
def unchanged(module: nn.Module) -> Iterator[None]:
    """Raise where a forward pass in this context changes parameters, or buffers that are saved.

    Buffers that a model does not save are caches, which may grow.

    Raises:
        RuntimeError: naming the tensors and the remedy.
    """
    before = _sums(module)
    yield
    after = _sums(module)
    changed = [name for name, value in before.items() if after.get(name) != value]
    if changed:
        raise RuntimeError(
            f"the model changes itself in its forward pass: {', '.join(map(repr, changed[:3]))}"
            f"{' and others' if len(changed) > 3 else ''} differ after it. If it initialises "
            "itself on the first batch that it sees (ActNorm), load its weights, or run it on one "
            "batch of its training data before all else. If it goes on changing, call "
            "model.eval(), or switch that off"
        )


def _sums(module: nn.Module) -> dict[str, str]:
    """Return name -> shape and sum of each tensor that the model saves.

    In-place changes need not leave a version behind (``weight.data *= mask``), and need not change
    anything the second time; the values tell.
    """
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and not tensor.is_meta:
            found.setdefault(id(tensor), (name.removeprefix("module."), tensor))
    return {name: f"{tuple(tensor.shape)} {_sum(tensor)}" for name, tensor in found.values()}


@torch.no_grad()
def _sum(tensor: Tensor) -> complex:
    whole = tensor.view(torch.uint8) if tensor.dtype.itemsize == 1 else tensor
    kind = torch.complex128 if tensor.is_complex() else torch.float64
    return complex(whole.sum(dtype=kind))
