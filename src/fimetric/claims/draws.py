"""Samples of a reference model, drawn part by part and kept, since a diffusion model takes long."""

from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Generator, Tensor

from fimetric.claims.study import Drawn
from fimetric.data import Samples
from fimetric.fingerprint.model import model_fingerprint
from fimetric.models.family import Draw, Model, family_of
from fimetric.objectives import NegativeLogLikelihood, Objective
from fimetric.progress import progress as show_progress
from fimetric.store import archive
from fimetric.store.files import whole_file
from fimetric.training.seeds import number

PART = 50
MOST = 3  # times as many draws as samples wanted, at most
CONTROL = 100  # of ancestral sampling, which takes every timestep


def draw(
    model: Model, objective: Objective, n: int, folder: Path, seed: int = 0, progress: bool = True
) -> Drawn:
    """Return n samples of a reference model, kept in a folder; a stopped call goes on from there.

    How is told by the model's family: continuous draws of a density, which its objective takes
    without dequantisation, or 8-bit images. Where the family has a slower way that is exact, a
    tenth as many, at most 100, are drawn so as a control.

    Arguments:
        model: of ``fimetric.models``, in evaluation mode.
        objective: that the model is scored with.
        n: number of samples.
        folder: where they are kept.
        seed: of the samples.
        progress: whether to show progress.

    Raises:
        ValueError: where the folder holds another model's samples, or what models of its family
            draw are no samples.
    """
    row = family_of(model)
    if row.draws is None:
        raise ValueError(
            f"a {type(model).__name__} draws no {row.samples} such as its data, and the claims are "
            "measured on samples that a model draws; ask them of another kind of model"
        )
    how = row.draws(model)
    samples = _kept(model, how.draw, n, folder / "draws", seed, progress, how.continuous)
    if how.continuous:
        assert isinstance(objective, NegativeLogLikelihood)  # whose density they are drawn from
        return Drawn(objective.continuous(), samples, f"{how.words}; {_lost(samples)}")
    if how.control is None:
        return Drawn(objective, samples, how.words)
    few = min(n // 10, CONTROL)
    control = _kept(model, how.control, few, folder / "ancestral", seed, progress)
    words = f"{how.words}; control: {few} by ancestral sampling"
    return Drawn(objective, samples, words, control)


def _lost(samples: Samples) -> str:
    drawn = 1 + int(samples.ids[-1].rsplit("/", 1)[1])
    return f"{drawn - len(samples)} of {drawn} left out, not invertible"


@torch.no_grad()
def _kept(
    model: Model,
    draw: Draw,
    n: int,
    folder: Path,
    seed: int,
    progress: bool,
    continuous: bool = False,
) -> Samples:
    mark = {"model": model_fingerprint(model), "seed": str(seed)}
    parts: list[Tensor] = []
    ids: list[str] = []
    with show_progress("sampling", n, progress) as advance:
        for p in range(MOST * (n // PART + 1)):
            path = folder / f"part-{p:03}.safetensors"
            if not path.exists():
                x = draw(PART, Generator().manual_seed(number(seed, p, 0)))
                with whole_file(path) as place:
                    content = safetensors.torch.save({"x": _as_stored(x, continuous)}, mark)
                    place.write_bytes(archive.seal(content))
            x = _read(path, mark)
            whole = torch.isfinite(x.float()).flatten(1).all(1).nonzero().flatten().tolist()
            parts.append(x[whole])
            ids += [f"{folder.name}/{p * PART + i}" for i in whole]
            advance(len(whole))
            if len(ids) >= n:
                return Samples(torch.cat(parts)[:n], ids[:n], folder.name)
    raise ValueError(
        f"only {len(ids)} of {n} samples of {type(model).__name__} are finite and invertible; "
        "train it further, or in float64"
    )


def _as_stored(x: Tensor, continuous: bool) -> Tensor:
    x = x.cpu().contiguous()
    return x if continuous else (x * 255).round().to(torch.uint8)


def _read(path: Path, mark: dict[str, str]) -> Tensor:
    content = archive.unseal(path.read_bytes(), path, "remove it, it will be drawn again")
    with safe_open(path, framework="pt") as file:
        found = {name: value for name, value in file.metadata().items() if name != archive.SEAL}
    if found != mark:
        raise ValueError(f"{path} was drawn from another model or seed; name another folder")
    return safetensors.torch.load(content)["x"]
