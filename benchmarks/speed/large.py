"""The models that are measured on a GPU, each with a small sibling of the same kind."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

import fimetric as fm
from benchmarks.speed.cases import (
    FLOW,
    Case,
    Losses,
    denoising,
    glow,
    gpt2,
    likelihood,
    next_tokens,
    normal,
    tokens,
    unet,
    uniform,
    vae,
)
from fimetric.models.glow import GlowConfig

GOAL = 1.1  # time of the engine over that of a step
LATENT = (4, 32, 32)


@dataclass(frozen=True)
class Large:
    """A model at the batch sizes that are measured, and a sibling that takes no time."""

    case: Case
    small: Callable[[], nn.Module]
    few: Callable[[int], Tensor] | None = None  # samples of the small one, where they differ
    more: tuple[int, ...] = ()  # batch sizes beside the case's own
    autocast: bool = False  # measured in bfloat16 as well

    @property
    def reduced(self) -> Case:
        """The small model as a case of its own."""
        return replace(self.case, model=self.small, sample=self.few or self.case.sample)


def dit(layers: int = 12, heads: int = 6, width: int = 64) -> nn.Module:
    """Return a diffusion transformer, as it is of the size S/2 of Peebles and Xie (2023).

    References:
        Scalable Diffusion Models with Transformers (Peebles and Xie, 2023, arXiv 2212.09748).
    """
    from diffusers import DiTTransformer2DModel

    return DiTTransformer2DModel(
        num_attention_heads=heads,
        attention_head_dim=width,
        num_layers=layers,
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        sample_size=LATENT[1],
        patch_size=2,
    ).eval()


def denoising_of_a_class(module: nn.Module) -> Losses:
    def losses(x: Tensor) -> Tensor:
        ten = torch.full((len(x),), 10, device=x.device)
        found = module(x, timestep=ten, class_labels=ten).sample
        return (found - x).square().flatten(1).sum(1)

    return losses


def in_bfloat16(case: Case) -> Case:
    """Return the same case with its losses under autocast."""

    def losses(module: nn.Module) -> Losses:
        plain = case.losses(module)

        def cast(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16):
                return plain(x)

        return cast

    return replace(case, losses=losses)


_language = partial(gpt2, layers=12, width=768, heads=12, vocabulary=50257, positions=512)
_texts = partial(tokens, vocabulary=50257, positions=512)
_words = partial(tokens, vocabulary=61, positions=16)
_images = partial(uniform, shape=(3, 8, 8))
_noise = partial(normal, shape=(3, 8, 8))
_latents = partial(normal, shape=LATENT)
_ddpm = partial(unet, (128, 256, 256, 256), 1)  # that of CIFAR-10

LARGE = (
    Large(
        Case("UNet", unet, normal, denoising, 64, GOAL),
        small=partial(unet, (8,)),
        few=_noise,
        more=(256,),
        autocast=True,
    ),
    Large(
        Case("UNet of DDPM", _ddpm, normal, denoising, 64, GOAL),
        small=partial(unet, (8,), 0),
        few=_noise,
        more=(256,),
        autocast=True,
    ),
    Large(
        Case("GPT-2 small", _language, _texts, next_tokens, 16, GOAL),
        small=partial(gpt2, layers=1, width=16, heads=2, vocabulary=61, positions=16),
        few=_words,
        autocast=True,
    ),
    Large(
        Case("Glow", partial(glow, FLOW), uniform, likelihood, 64, GOAL),
        small=partial(glow, GlowConfig(steps=1, levels=2, hidden=8), (3, 8, 8)),
        few=_images,
    ),
    Large(
        Case("VAE", vae, uniform, fm.objectives.standard_objective, 256, GOAL),
        small=partial(vae, "tiny", (3, 8, 8)),
        few=_images,
    ),
    Large(
        Case("DiT-S/2", dit, _latents, denoising_of_a_class, 64, GOAL),
        small=partial(dit, 1, 2, 8),
    ),
)
