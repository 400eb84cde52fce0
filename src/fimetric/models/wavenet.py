"""An autoregressive model of sound, value by value, with a likelihood over 256 mu-law levels.

    log P(x) = sum_t log P(x_t | x_1, ..., x_{t-1})

WaveNet: A Generative Model for Raw Audio (van den Oord et al., 2016, arXiv:1609.03499): dilated
causal convolutions with gated units, residual and skip connections, and a softmax over levels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fimetric.models.family import Model
from fimetric.noise import drawn

LEVELS = 256
MU = LEVELS - 1


@dataclass(frozen=True)
class WaveNetConfig:
    """Sizes of a :class:`WaveNet`.

    ``stacks`` times ``depth`` layers of dilations 1, 2, 4, ... are ``hidden`` channels wide and add
    to ``skip`` channels. A value sees the 1 + stacks * (2 ** depth - 1) before it.
    """

    stacks: int = 1
    depth: int = 10
    hidden: int = 32
    skip: int = 64


def levels_of(x: Tensor) -> Tensor:
    """Return the mu-law levels 0..255, int64, of values x in [-1, 1].

    Louder values are clipped, as a codec does (ITU-T Recommendation G.711 has the law, as pieces).
    """
    x = x.clamp(-1, 1)
    companded = x.sign() * torch.log1p(MU * x.abs()) / math.log(LEVELS)
    return ((companded + 1) / 2 * MU + 0.5).floor().long()


def values_of(levels: Tensor) -> Tensor:
    """Return the values in [-1, 1], float32, that levels 0..255 stand for."""
    companded = 2 * levels.float() / MU - 1
    return companded.sign() * torch.expm1(companded.abs() * math.log(LEVELS)) / MU


class Layer(nn.Module):
    """Creates a layer: a gated convolution of a value and of the one ``dilation`` before it.

    The last layer has no residual connection, which would lead nowhere.
    """

    def __init__(self, hidden: int, skip: int, dilation: int, last: bool) -> None:
        """Make the parameters."""
        super().__init__()
        self.dilation = dilation
        self.gated = nn.Conv1d(hidden, 2 * hidden, 2, dilation=dilation)
        self.skip = nn.Conv1d(hidden, skip, 1)
        self.residual = None if last else nn.Conv1d(hidden, hidden, 1)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return h (N, hidden, T) for the next layer, and what is skipped (N, skip, T), of h.

        Before the first value there are zeros.
        """
        return self._joined(h, self.gated(F.pad(h, (self.dilation, 0))))

    def step(self, h: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the same of one time: of h (N, hidden, 1), and what it was ``dilation`` before."""
        both = torch.cat([before, h], 2)
        return self._joined(h, F.conv1d(both, self.gated.weight, self.gated.bias))

    def _joined(self, h: Tensor, gated: Tensor) -> tuple[Tensor, Tensor]:
        value, gate = gated.chunk(2, 1)
        found = value.tanh() * gate.sigmoid()
        onwards = h if self.residual is None else h + self.residual(found)
        return onwards, self.skip(found)


class WaveNet(Model):
    """Creates a WaveNet.

    ``"paper"`` has the dilations that the paper tells, three times 1 to 512; it tells no widths.

    Arguments:
        config: Sizes, see :class:`WaveNetConfig`.
        shape: Shape (T,) of one clip.
    """

    Config = WaveNetConfig
    CONFIGS: ClassVar[dict[str, WaveNetConfig]] = {
        "tiny": WaveNetConfig(depth=5, hidden=8, skip=16),
        "small": WaveNetConfig(),
        "paper": WaveNetConfig(stacks=3, hidden=64, skip=256),
    }

    def __init__(self, config: WaveNetConfig, shape: tuple[int]) -> None:
        """Make the parameters."""
        super().__init__()
        self.config, self.shape = config, shape
        hidden, skip = config.hidden, config.skip
        self.enter = nn.Conv1d(LEVELS, hidden, 1)
        dilations = [2**k for k in range(config.depth)] * config.stacks
        last = len(dilations) - 1
        self.layers = nn.ModuleList(
            Layer(hidden, skip, dilation, k == last) for k, dilation in enumerate(dilations)
        )
        self.between = nn.Conv1d(skip, skip, 1)
        self.head = nn.Conv1d(skip, LEVELS, 1)

    def _layers(self) -> Iterator[Layer]:
        return cast(Iterator[Layer], iter(self.layers))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Begin with the shares of the levels in x (N, T), one more of each than there are."""
        counts = torch.bincount(levels_of(x).flatten(), minlength=LEVELS) + 1
        assert self.head.bias is not None
        self.head.bias.copy_((counts / counts.sum()).log())

    def conditionals(self, x: Tensor) -> Tensor:
        """Return the log probability (N, T) of each level of x (N, T), given those before it."""
        return -self.position_costs(x)

    def position_costs(self, x: Tensor) -> Tensor:
        """Return what each level of x (N, T) costs, given those before it, (N, T) in nats."""
        return F.cross_entropy(*self.predictions(x), reduction="none")

    def position_costs_and_entropies(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the costs, and what each level would cost on average of the model's own draws."""
        logits, levels = self.predictions(x)
        entropies = [_entropy(row) for row in logits]  # one by one: all would take memory thrice
        return F.cross_entropy(logits, levels, reduction="none"), torch.stack(entropies)

    def predictions(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, LEVELS, T) of each level of x (N, T), and the levels (N, T)."""
        levels = levels_of(x)
        h = self.enter(F.pad(self._one_hot(levels)[:, :, :-1], (1, 0)))
        skipped: Tensor | float = 0.0
        for layer in self._layers():
            h, skip = layer(h)
            skipped = skipped + skip
        return self._logits(skipped), levels

    def _one_hot(self, levels: Tensor) -> Tensor:
        """Return (N, LEVELS, T) of levels (N, T)."""
        zeros = self.head.weight.new_zeros(len(levels), LEVELS, levels.shape[1])
        return zeros.scatter_(1, levels[:, None], 1.0)

    def _logits(self, skipped: Tensor | float) -> Tensor:
        return self.head(F.relu(self.between(F.relu(cast(Tensor, skipped)))))

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log probability (N,), in nats, of the mu-law levels of x (N, T)."""
        return -self.position_costs(x).sum(1)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log P(x) (N,) in nats of x (N, T) in [-1, 1]; nothing is drawn."""
        return -self.log_prob(x)

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log2 P(x) / T, (N,), of the mu-law levels of x (N, T): 8 is for chance alone."""
        return -self.log_prob(x) / (x.shape[1] * math.log(2))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Return n draws (n, T) in [-1, 1], each value one that a level stands for.

        Each layer keeps what it saw as long ago as it looks back, so that all values together cost
        about one forward pass.
        """
        weight = self.head.weight
        T, hidden = self.shape[0], self.config.hidden
        uniform = drawn("uniform", (n, T), generator).to(weight)
        kept = [weight.new_zeros(n, hidden, layer.dilation) for layer in self._layers()]
        levels = torch.zeros(n, T, dtype=torch.long, device=weight.device)
        h = self.enter(weight.new_zeros(n, LEVELS, 1))
        for t in range(T):
            skipped: Tensor | float = 0.0
            for layer, states in zip(self._layers(), kept, strict=True):
                place = slice(t % layer.dilation, t % layer.dilation + 1)
                before = states[:, :, place].clone()
                states[:, :, place] = h
                h, skip = layer.step(h, before)
                skipped = skipped + skip
            below = self._logits(skipped)[:, :, 0].softmax(1).cumsum(1)[:, :-1]
            levels[:, t] = (below <= uniform[:, t, None]).sum(1)
            h = self.enter(self._one_hot(levels[:, t : t + 1]))
        return values_of(levels)


def _entropy(logits: Tensor) -> Tensor:
    """Return the entropies (T,) in nats of distributions with logits (LEVELS, T)."""
    log_p = logits.log_softmax(0)
    return -(log_p.exp() * log_p).sum(0)
