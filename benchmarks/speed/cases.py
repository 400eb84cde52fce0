"""The four models that are measured, each with its batch, its losses and the goals."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import diffusers
import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

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
    diffusers.logging.set_verbosity_error()  # of casts
    warnings.filterwarnings("ignore", message="There is a performance drop")  # of vmap


def _unet() -> nn.Module:
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=2,
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        attention_head_dim=64,
    ).eval()


def _unet_losses(module: nn.Module) -> Losses:
    return lambda x: (module(x, 10).sample - x).square().flatten(1).sum(1)


def _glow() -> nn.Module:
    model = Glow(GlowConfig(steps=16, levels=3, hidden=128), IMAGE)
    return _start(model, torch.rand(16, *IMAGE))


@torch.no_grad()
def _start(model: Glow, x: Tensor) -> Glow:
    """Initialise from data, and move off the zeros where half of all gradients vanish."""
    model.initialise(x)
    for parameter in model.parameters():
        parameter.add_(0.01 * torch.randn_like(parameter))
    return model


def _glow_losses(module: nn.Module) -> Losses:
    return lambda x: -module.log_prob(x)


def _vae() -> nn.Module:
    return fm.models.build("vae", "small", IMAGE).eval()


def gpt2(layers: int = 4) -> nn.Module:
    config = GPT2Config(
        vocab_size=4096,
        n_embd=256,
        n_layer=layers,
        n_head=4,
        n_positions=128,
        bos_token_id=0,
        eos_token_id=0,
    )
    return GPT2LMHeadModel(config).eval()


def tokens(n: int) -> Tensor:
    return torch.randint(4096, (n, 128))


def _normal(n: int) -> Tensor:
    return torch.randn(n, *IMAGE)


def _uniform(n: int) -> Tensor:
    return torch.rand(n, *IMAGE)


CASES = {
    case.name: case
    for case in (
        Case("UNet", _unet, _normal, _unet_losses, 32, 1.0),
        Case("Glow", _glow, _uniform, _glow_losses, 16, 1.2),
        Case("VAE", _vae, _uniform, fm.objectives.standard_objective, 128, 1.0),
        Case("GPT-2", gpt2, tokens, fm.objectives.CausalLM, 16, 1.0),
    )
}
MEMORY_GOAL = 1.15  # peak of the engine over that of a step
