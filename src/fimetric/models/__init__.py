"""Reference models, one file each, and the folder format in which they are kept.

A model is an nn.Module with ``config``, ``shape`` (C, H, W) and

- ``training_losses(x, generator) -> (N,)``, what training minimises, per sample,
- ``bits_per_dim(x, generator) -> (N,)``, an upper bound on the code length of 8-bit images,
- ``sample(n, generator) -> (n, C, H, W)`` in [0, 1], without a graph,

where x is float32 (N, C, H, W) in [0, 1] = k/255 and the generator lives on the CPU.
"""

from fimetric.models.diffusion import Diffusion, DiffusionConfig
from fimetric.models.folder import KINDS, Model, build, kind_of, load, save
from fimetric.models.glow import Glow, GlowConfig
from fimetric.models.vae import VAE, VAEConfig

__all__ = [
    "KINDS",
    "VAE",
    "Diffusion",
    "DiffusionConfig",
    "Glow",
    "GlowConfig",
    "Model",
    "VAEConfig",
    "build",
    "kind_of",
    "load",
    "save",
]
