"""What is known of all graphs that differ in sizes alone, kept for later processes too.

What is kept are a few numbers, under a hash of the graph: nodes, edges, attributes, the releases
of torch and of the engine. A file that is damaged, of another version, or cannot be written is no
loss: the first batch teaches it again.
"""

import hashlib
import logging
import math
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
import platformdirs
import torch
from torch import Tensor

from fimetric.gradients.graph import Graph
from fimetric.gradients.plan import Plan
from fimetric.store import archive
from fimetric.store.files import whole_file

logger = logging.getLogger("fimetric")

VERSION = 1  # raised when what is kept, or what follows from it, changes
FOLDER = "FIMETRIC_CACHE"
CHECKED_USES = frozenset(8**k for k in range(20))  # the first reuse, then more and more rarely
CERTAIN_USES = frozenset(64 * 8**k for k in range(18))  # where all follows from rules


@dataclass
class Kind:
    """What the first batch of a kind of graphs has taught."""

    bound: Tensor  # (J,) squared norms that were rounding noise
    mixed: frozenset[int]  # nodes that were sums over the samples when they were looked at
    uses: int = 0  # after the first batch
    distrusted: bool = False  # data move samples in ways that neither rules nor indices show
    unreadable: Plan | None = None  # by the loop, as all graphs of the kind

    def use(self, plan: Plan) -> bool:
        """Count one use, and return whether it is to be checked."""
        self.uses += 1
        return self.uses in (CHECKED_USES if plan.looked_at else CERTAIN_USES)


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    bound: list[float]
    mixed: list[int]


def cache_folder() -> Path | None:
    """Return where to keep what outlives a process, None where ``FIMETRIC_CACHE`` is empty."""
    chosen = os.environ.get(FOLDER)
    if chosen is None:
        return platformdirs.user_cache_path("fimetric")
    return Path(chosen) if chosen else None


def recall(graph: Graph, parameters: int, device: torch.device) -> Kind | None:
    """Return what an earlier process has learnt of such graphs, if it was kept."""
    folder = cache_folder()
    if folder is None:
        return None
    form = _form(graph)
    try:
        kept, _ = form.read(folder)
    except (OSError, ValueError) as error:
        logger.debug("nothing kept of this graph: %s", error)
        return None
    if len(kept.bound) != parameters or any(not 0 <= k < len(graph.nodes) for k in kept.mixed):
        return None
    return Kind(torch.tensor(kept.bound, device=device), frozenset(kept.mixed))


def keep(graph: Graph, kind: Kind) -> None:
    """Keep what was learnt, where it holds for later processes and can be written."""
    folder, bound = cache_folder(), kind.bound.tolist()
    if folder is None or kind.unreadable is not None or not all(map(math.isfinite, bound)):
        return
    form = _form(graph)
    path = folder / f"{form.name}.json"
    try:
        if kind.distrusted:
            path.unlink(missing_ok=True)
            return
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as place:
            place.write_bytes(form.encode(_Kept(bound, sorted(kind.mixed))))
    except OSError as error:
        logger.debug("%s cannot be written: %s", path, error)


def _form(graph: Graph) -> archive.Kind[_Kept]:
    told = f"{VERSION} {torch.__version__} {graph.kind!r}"
    name = f"graph-{hashlib.sha256(told.encode()).hexdigest()[:40]}"
    return archive.Kind(name, VERSION, _Kept, "delete it")
