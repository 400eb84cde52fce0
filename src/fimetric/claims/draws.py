"""Samples of a reference model, drawn part by part and kept, since a diffusion model takes long."""

from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Generator, Tensor

from fimetric.claims.study import Drawn
from fimetric.data import Samples
from fimetric.fingerprint.model import model_fingerprint
from fimetric.models import VAE, Diffusion, Glow, Model
from fimetric.objectives import NegativeLogLikelihood, Objective
from fimetric.progress import progress as show_progress
from fimetric.store import archive
from fimetric.store.files import whole_file
from fimetric.training.seeds import number

PART = 50
MOST = 3  # times as many draws as samples wanted, at most
ROUND_TRIP = 1e-2  # of latents, which are standard normal
CONTROL = 100  # of ancestral sampling, which takes every timestep
Draw = Callable[[int, Generator], Tensor]


def draw(
    model: Model, objective: Objective, n: int, folder: Path, seed: int = 0, progress: bool = True
) -> Drawn:
    """Return n samples of a reference model, kept in a folder; a stopped call goes on from there.

    A flow's are continuous draws of its density, which its objective takes without dequantisation;
    the others' are 8-bit images. A diffusion model is sampled by DDIM in 50 steps, and a tenth as
    many, at most 100, by ancestral sampling as a control.

    Arguments:
        model: of ``fimetric.models``, in evaluation mode.
        objective: that the model is scored with.
        n: number of samples.
        folder: where they are kept.
        seed: of the samples.
        progress: whether to show progress.

    Raises:
        ValueError: where the folder holds another model's samples.
    """
    if isinstance(model, Glow):
        assert isinstance(objective, NegativeLogLikelihood)
        samples = _kept(model, _invertible(model), n, folder / "draws", seed, progress)
        return Drawn(objective.continuous(), samples, _words(samples))
    if isinstance(model, VAE):
        samples = _kept(model, model.sample, n, folder / "draws", seed, progress)
        return Drawn(objective, samples, "8-bit draws, pixel noise included")
    samples = _kept(model, model.sample, n, folder / "draws", seed, progress)
    few = min(n // 10, CONTROL)
    control = _kept(model, _ancestral(model), few, folder / "ancestral", seed, progress)
    how = f"DDIM, 50 steps; control: {few} by ancestral sampling"
    return Drawn(objective, samples, how, control)


def _invertible(model: Glow) -> Draw:
    """Draw continuous samples; those that the flow does not bring back to their latents are nan.

    A coupling's inverse has no bound on its scale, so a few latents in a thousand end at 1e5 or
    more, where float32 knows neither the sample nor its density.
    """

    def draw(n: int, generator: Generator) -> Tensor:
        latents = model.draw_latents(n, generator)
        x = model.inverse(latents)
        errors = [
            (a - b).abs().flatten(1).amax(1)
            for a, b in zip(model.transform(x)[0], latents, strict=True)
        ]
        lost = ~(torch.stack(errors).amax(0) < ROUND_TRIP)
        x[lost] = torch.nan
        return x

    return draw


def _words(samples: Samples) -> str:
    drawn = 1 + int(samples.ids[-1].rsplit("/", 1)[1])
    lost = drawn - len(samples)
    return f"continuous draws, not dequantised; {lost} of {drawn} left out, not invertible"


def _ancestral(model: Diffusion) -> Draw:
    return lambda n, generator: model.sample(n, generator, model.config.timesteps, eta=1.0)


@torch.no_grad()
def _kept(model: Model, draw: Draw, n: int, folder: Path, seed: int, progress: bool) -> Samples:
    mark = {"model": model_fingerprint(model), "seed": str(seed)}
    parts: list[Tensor] = []
    ids: list[str] = []
    with show_progress("sampling", n, progress) as advance:
        for p in range(MOST * (n // PART + 1)):
            path = folder / f"part-{p:03}.safetensors"
            if not path.exists():
                x = draw(PART, Generator().manual_seed(number(seed, p, 0)))
                with whole_file(path) as place:
                    content = safetensors.torch.save({"x": _as_stored(model, x)}, mark)
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


def _as_stored(model: Model, x: Tensor) -> Tensor:
    x = x.cpu().contiguous()
    return x if isinstance(model, Glow) else (x * 255).round().to(torch.uint8)


def _read(path: Path, mark: dict[str, str]) -> Tensor:
    content = archive.unseal(path.read_bytes(), path, "remove it, it will be drawn again")
    with safe_open(path, framework="pt") as file:
        found = {name: value for name, value in file.metadata().items() if name != archive.SEAL}
    if found != mark:
        raise ValueError(f"{path} was drawn from another model or seed; name another folder")
    return safetensors.torch.load(content)["x"]
