"""What goes into the last layer of a model: the mean over positions, a vector of each sample."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fimetric.extraction.extractor import placed
from fimetric.objectives import Objective
from fimetric.objectives.reading import read
from fimetric.store.files import whole_file

HIDDEN = "hidden/"  # begins the names of its entries among the parts
BATCH = 50
LAST = (nn.Linear, nn.Embedding, nn.LayerNorm)  # whose channels stand last


def hidden_states(objective: Objective, samples: Any, place: Path) -> Any:
    """Return the hidden states (N, D) of some samples, kept in a file; D is 0 where there is none.

    Over the views of an objective the mean is taken. Texts are of one length: padding would count.
    """
    if place.exists():
        return np.load(place)
    found = np.concatenate([_of(objective, batch) for batch in read(objective, samples, BATCH)])
    with whole_file(place) as file, file.open("wb") as stream:
        np.save(stream, found)
    return found


@torch.no_grad()
def _of(objective: Objective, batch: Any) -> Any:
    x = placed(batch, objective.module)
    views = []
    for view in objective.views():
        with _inputs(objective.module) as seen:
            objective.losses(view, x)
        views.append(_pooled(*seen[-1], len(batch)))
    return torch.stack(views).mean(0).double().numpy()


def _pooled(layer: nn.Module, given: Tensor, samples: int) -> Tensor:
    """Return the mean (N, D) over all axes but those of samples and channels."""
    if len(given) != samples:
        return torch.zeros(samples, 0)
    x = given.movedim(-1, 1) if isinstance(layer, LAST) else given
    return x.reshape(samples, x.shape[1], -1).mean(2)


@contextmanager
def _inputs(module: nn.Module) -> Iterator[list[tuple[nn.Module, Tensor]]]:
    """Yield what layers with weights of their own get, in the order in which they run."""
    seen: list[tuple[nn.Module, Tensor]] = []

    def see(layer: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor) and given[0].dim() > 1:
            seen.append((layer, given[0].detach()))

    weighted = [
        m
        for m in module.modules()
        if any(p.dim() > 1 for p in m._parameters.values() if p is not None)
    ]
    hooks = [m.register_forward_pre_hook(see) for m in weighted]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
