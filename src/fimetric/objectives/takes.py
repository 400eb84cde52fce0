"""What a model itself tells of the samples that it takes: number formats, tokens, sequences."""

import torch
from torch import nn

SEQUENTIAL = (nn.RNNBase, nn.TransformerEncoder, nn.TransformerDecoder, nn.MultiheadAttention)


def vocabulary_of(module: nn.Module) -> int | None:
    """Return the number of tokens that a model knows; None where it does not tell."""
    try:
        table = module.get_input_embeddings()  # type: ignore[operator]
    except (AttributeError, NotImplementedError):
        table = None
    if not isinstance(table, nn.Embedding):
        tables = [layer for layer in module.modules() if isinstance(layer, nn.Embedding)]
        table = tables[0] if len(tables) == 1 else None
    if table is not None:
        return table.num_embeddings
    size = getattr(getattr(module, "config", None), "vocab_size", None)
    return size if isinstance(size, int) else None


def length_dimension(module: nn.Module) -> int | None:
    """Return which dimension of a sample is a sequence's length, in a model of sequences.

    One-dimensional convolutions take it last, (C, T); recurrent and attentive layers first, (T, D).
    """
    layers = list(module.modules())
    if any(isinstance(layer, nn.Conv2d | nn.Conv3d) for layer in layers):
        return None
    if any(isinstance(layer, nn.Conv1d) for layer in layers):
        return -1
    return 0 if any(isinstance(layer, SEQUENTIAL) for layer in layers) else None


def number_formats(module: nn.Module) -> set[torch.dtype]:
    """Return the floating-point formats of a model's parameters."""
    return {p.dtype for p in module.parameters() if p.is_floating_point()}


def number_format(module: nn.Module) -> torch.dtype | None:
    """Return the one format of a model's parameters; None where they have several, or none."""
    kinds = number_formats(module)
    return kinds.pop() if len(kinds) == 1 else None


def coarse_formats(module: nn.Module) -> str:
    """Return the names of the formats of fewer bits than float32; empty where there are none."""
    coarse = {kind for kind in number_formats(module) if kind.itemsize < 4}
    return " and ".join(sorted(str(kind).removeprefix("torch.") for kind in coarse))
