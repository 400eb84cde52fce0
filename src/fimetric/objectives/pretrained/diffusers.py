"""Diffusion models, flow matching and autoencoders that the library diffusers has saved."""

from dataclasses import replace
from typing import Any

import torch

from fimetric.objectives.base import Objective
from fimetric.objectives.denoising import Denoising
from fimetric.objectives.flow_matching import FlowMatching
from fimetric.objectives.gaussian_elbo import GaussianELBO
from fimetric.objectives.noising import said, several
from fimetric.objectives.pretrained.diffusers_folder import (
    AUTOENCODER,
    DENOISERS,
    Folder,
    recognises,
)
from fimetric.objectives.pretrained.diffusers_told import teller_of
from fimetric.objectives.pretrained.frozen import LatentMean
from fimetric.objectives.pretrained.request import Found, Loader, Request, Shape, format_named

AUTOENCODERS = ("AutoencoderKL",)


def _open(found: Found, request: Request) -> tuple[Objective, Shape | None]:
    """Return the objective of a pipeline, of a denoiser and its scheduler, or of an autoencoder.

    Raises:
        ValueError: for what is none of these.
    """
    folder = Folder(found.path, found.said, format_named(request.dtype) or torch.float32)
    parts = folder.parts()
    if parts.get("") in AUTOENCODERS:
        return _autoencoder(folder, request)
    name = next((name for name in ("transformer", "unet", "") if name in parts), None)
    if name is None:
        raise ValueError(
            f"{found.said} holds no denoiser ({', '.join(parts) or 'a scheduler'} alone); give the "
            "folder of a pipeline, of a denoiser with its scheduler, or of an autoencoder"
        )
    scheduler = folder.scheduler()
    module = folder.model(name, DENOISERS)
    vae = _encoder(folder) if AUTOENCODER in parts else None
    shape = _shape(folder, module, vae)
    teller = teller_of(folder, parts, module, request.condition)
    made = (FlowMatching if _is_flow(scheduler) else Denoising)(
        module,
        scheduler,
        several(scheduler) if request.timesteps is None else request.timesteps,
        request.draws,
        centred=not getattr(module.config, "center_input_sample", False),  # or the model does it
        seed=request.seed,
    )
    made.shape, made.condition = shape, request.condition
    made.teller = teller
    made.encoder = None if vae is None else LatentMean(vae)
    return made.to(request.device).eval(), _fixed(shape)


def _encoder(folder: Folder) -> Any:
    """Return the autoencoder of a pipeline, in float32 at least: in less it overflows."""
    dtype = torch.promote_types(folder.dtype, torch.float32)
    return replace(folder, dtype=dtype).model(AUTOENCODER, AUTOENCODERS)


def _autoencoder(folder: Folder, request: Request) -> tuple[Objective, Shape | None]:
    request.refuse_others(
        frozenset(("draws", "dtype", "revision")), f"an autoencoder ({folder.said})"
    )
    vae = folder.model("", AUTOENCODERS)
    made = GaussianELBO(vae, request.draws, request.seed)
    made.shape = (vae.config.in_channels, *_sides(vae.config.sample_size))
    return made.to(request.device).eval(), _fixed(made.shape)


def _is_flow(scheduler: Any) -> bool:
    named = type(scheduler).__name__.startswith("FlowMatch")
    return named or bool(said(scheduler, "use_flow_sigmas", False))


def _fixed(shape: tuple[int | None, ...]) -> Shape | None:
    sides = tuple(side for side in shape if side is not None)
    return sides if len(sides) == len(shape) else None


def _sides(size: Any) -> tuple[int | None, int | None]:
    """Return height and width of what a configuration gives as a number, two, or nothing."""
    return tuple(size) if isinstance(size, list | tuple) else (size, size)


def _shape(folder: Folder, module: Any, vae: Any) -> tuple[int | None, ...]:
    """Return the shape (C, H, W) of the pictures, None for a side of any length.

    Raises:
        ValueError: for a denoiser that sees more than a noisy picture, or other latents.
    """
    takes = module.config.in_channels
    gives = module.config.out_channels or takes
    if gives not in (takes, 2 * takes):
        raise ValueError(
            f"{folder.said}: its {type(module).__name__} takes {takes} channels and predicts "
            f"{gives}, so it sees another picture beside the noisy one (inpainting, upscaling); "
            "give a model that generates pictures from nothing or from a prompt"
        )
    if vae is None:
        return (takes, *_sides(module.config.sample_size))
    if vae.config.latent_channels != takes:
        raise ValueError(
            f"{folder.said}: its autoencoder has latents of {vae.config.latent_channels} channels "
            f"and its denoiser takes {takes}; they are not of one model"
        )
    times = 2 ** (len(vae.config.block_out_channels) - 1)
    sides = (None if side is None else side * times for side in _sides(module.config.sample_size))
    return (vae.config.in_channels, *sides)


LOADER = Loader(
    "diffusers",
    "a pipeline, a denoiser with its scheduler, or an autoencoder of diffusers",
    frozenset(("timesteps", "draws", "condition", "dtype", "revision")),
    recognises,
    _open,
)
