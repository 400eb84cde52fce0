"""The four models that are measured, each with its batch, its losses and the goals."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

import fimetric as fm
from fimetric.models.glow import Glow, GlowConfig

Losses = Callable[[Tensor], Tensor]
IMAGE = (3, 32, 32)
SEED = 0


@dataclass(frozen=True)
class Case:
    """A model, how many samples make its batch, and how fast the engine is meant to be."""

    name: str
    model: Callable[[], nn.Module]
    sample: Callable[[int], Tensor]  # N -> a batch
    losses: Callable[[nn.Module], Losses]
    batch: int
    goal: float  # time of the engine over that of a step, on a CPU

    def build(
        self, batch: int | None = None, device: str = "cpu", dtype: torch.dtype = torch.float32
    ) -> tuple[nn.Module, Tensor]:
        """Return the model and a batch, the same ones in every process."""
        torch.manual_seed(SEED)
        module = self.model().to(device, dtype)
        x = self.sample(self.batch if batch is None else batch).to(device)
        return module, x.to(dtype) if x.is_floating_point() else x


def quieten() -> None:
    """Silence what the libraries say about themselves, and nothing else."""
    import diffusers

    diffusers.logging.set_verbosity_error()  # of casts
    warnings.filterwarnings("ignore", message="There is a performance drop")  # of vmap
    warnings.filterwarnings("ignore", message="Full backward hook is firing")  # of torch at Opacus


def unet(channels: tuple[int, ...] = (32, 64, 128), attention: int | None = None) -> nn.Module:
    """Return a UNet of two layers at each resolution, with attention at one of them."""
    from diffusers import UNet2DModel

    down, up = ["DownBlock2D"] * len(channels), ["UpBlock2D"] * len(channels)
    if attention is not None:
        down[attention], up[-1 - attention] = "AttnDownBlock2D", "AttnUpBlock2D"
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=channels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        norm_num_groups=channels[0] // 4,
        attention_head_dim=min(64, channels[-1]),
    ).eval()


def denoising(module: nn.Module) -> Losses:
    return lambda x: (module(x, 10).sample - x).square().flatten(1).sum(1)


def glow(config: GlowConfig, shape: tuple[int, int, int] = IMAGE) -> nn.Module:
    return _start(Glow(config, shape), torch.rand(16, *shape))


@torch.no_grad()
def _start(model: Glow, x: Tensor) -> Glow:
    """Initialise from data, and move off the zeros where half of all gradients vanish."""
    model.initialise(x)
    for parameter in model.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def likelihood(module: nn.Module) -> Losses:
    return lambda x: -module.log_prob(x)


def vae(config: str = "small", shape: tuple[int, int, int] = IMAGE) -> nn.Module:
    return fm.models.build("vae", config, shape).eval()


def gpt2(
    layers: int = 4,
    width: int = 256,
    heads: int = 4,
    vocabulary: int = 4096,
    positions: int = 128,
    tied: bool = True,
) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        n_positions=positions,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=tied,
    )
    return GPT2LMHeadModel(config).eval()


def tokens(n: int, vocabulary: int = 4096, positions: int = 128) -> Tensor:
    return torch.randint(vocabulary, (n, positions))


def next_tokens(module: nn.Module) -> Losses:
    """Return the losses as plainly as any peer can read them."""

    def losses(x: Tensor) -> Tensor:
        logits = module(input_ids=x).logits[:, :-1].transpose(1, 2)
        return nn.functional.cross_entropy(logits, x[:, 1:], reduction="none").sum(1)

    return losses


def normal(n: int, shape: tuple[int, ...] = IMAGE) -> Tensor:
    return torch.randn(n, *shape)


def uniform(n: int, shape: tuple[int, ...] = IMAGE) -> Tensor:
    return torch.rand(n, *shape)


FLOW = GlowConfig(steps=16, levels=3, hidden=128)
CASES = {
    case.name: case
    for case in (
        Case("UNet", unet, normal, denoising, 32, 1.0),
        Case("Glow", partial(glow, FLOW), uniform, likelihood, 16, 1.15),
        Case("VAE", vae, uniform, fm.objectives.standard_objective, 128, 1.0),
        Case("GPT-2", gpt2, tokens, next_tokens, 16, 1.0),
    )
}
MEMORY_GOAL = 1.15  # peak of the engine over that of a step
