"""An autoregressive model of images, pixel by pixel, with a likelihood over the 256 levels.

    log P(x) = sum_i log P(x_i | rows above, pixels to the left)

Conditional Image Generation with PixelCNN Decoders (van den Oord et al., 2016, arXiv:1606.05328)
has the two stacks of gated convolutions; PixelCNN++ (Salimans et al., 2017, arXiv:1701.05517) has
the mixture of discretised logistics, the channels of a pixel that follow one another linearly, and
stacks that are causal because images are shifted, so that no weight is masked. Neither dropout nor
downsampling is taken over.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from fimetric.models.discretised import bounded_log_scale, discretised_logistic
from fimetric.models.family import Model
from fimetric.noise import drawn

PLACES = 3  # channels that tell where a pixel is: inside at all, its row, its column
LOG_SCALE = -2.0  # of the logistics to begin with


@dataclass(frozen=True)
class PixelCNNConfig:
    """Sizes of a :class:`PixelCNN`: ``layers`` of ``hidden`` channels, ``mixtures`` of logistics.

    A pixel sees ``layers`` + 1 rows above it, and as many columns to either side.
    """

    layers: int = 6
    hidden: int = 32
    mixtures: int = 5


class Mixture(NamedTuple):
    """Of K logistics over h x w pixels of C channels, P = C (C - 1) / 2 pairs of channels."""

    logits: Tensor  # (N, K, h, w)
    means: Tensor  # (N, C, K, h, w), before what earlier channels add
    log_scales: Tensor  # (N, C, K, h, w)
    slopes: Tensor  # (N, P, K, h, w), of a channel in an earlier one

    def location(self, c: int, x: Tensor) -> Tensor:
        """Return the locations (N, K, h, w) of channel c, given the channels of x before it."""
        found, first = self.means[:, c], c * (c - 1) // 2
        for d in range(c):
            found = found + self.slopes[:, first + d] * (x[:, d : d + 1] - 0.5)
        return found


class Layer(nn.Module):
    """Creates a layer of both stacks: ``vertical`` sees rows, ``horizontal`` the row so far."""

    def __init__(self, hidden: int) -> None:
        """Make the parameters."""
        super().__init__()
        self.down = nn.Conv2d(hidden, 2 * hidden, (2, 3), padding=(0, 1))
        self.right = nn.Conv2d(hidden, 2 * hidden, (1, 2))
        self.across = nn.Conv2d(hidden, 2 * hidden, 1, bias=False)
        self.out = nn.Conv2d(hidden, hidden, 1)

    def vertical(self, v: Tensor) -> Tensor:
        """Return (N, hidden, h, w) of v (N, hidden, 1 + h, w), which has the row above too."""
        return v[:, :, 1:] + F.glu(self.down(v), 1)

    def horizontal(self, h: Tensor, v: Tensor) -> Tensor:
        """Return (N, hidden, h, w) of h (N, hidden, h, 1 + w), with the column before, and v."""
        return h[..., 1:] + self.out(F.glu(self.right(h) + self.across(v), 1))


class PixelCNN(Model):
    """Creates a PixelCNN.

    ``"paper"`` has depth, width and mixtures of PixelCNN++, in a simpler network.

    Arguments:
        config: Sizes, see :class:`PixelCNNConfig`.
        shape: Shape (C, H, W) of one sample.
    """

    Config = PixelCNNConfig
    CONFIGS: ClassVar[dict[str, PixelCNNConfig]] = {
        "tiny": PixelCNNConfig(layers=3, hidden=16, mixtures=3),
        "small": PixelCNNConfig(layers=6, hidden=32, mixtures=5),
        "paper": PixelCNNConfig(layers=36, hidden=160, mixtures=10),
    }

    def __init__(self, config: PixelCNNConfig, shape: tuple[int, int, int]) -> None:
        """Make the parameters."""
        super().__init__()
        self.config, self.shape = config, shape
        C, K, hidden = shape[0], config.mixtures, config.hidden
        self.enter_down = nn.Conv2d(C + PLACES, hidden, (1, 3), padding=(0, 1))
        self.enter_right = nn.Conv2d(C + PLACES, hidden, 1)
        self.layers = nn.ModuleList(Layer(hidden) for _ in range(config.layers))
        self.parts = (1, C, C, C * (C - 1) // 2)  # of ``Mixture``, each K times
        self.head = nn.Conv2d(hidden, K * sum(self.parts), 1)
        with torch.no_grad():  # logistics that are alike would learn alike
            means, log_scales = self._of_parts(cast(Tensor, self.head.bias)[None])[1:3]
            means.copy_((torch.arange(K) + 0.5) / K)
            log_scales.fill_(LOG_SCALE)

    def _layers(self) -> list[Layer]:
        return cast(list[Layer], list(self.layers))

    def _of_parts(self, out: Tensor) -> tuple[Tensor, ...]:
        """Return the parts (N, part, K, ...) of what the head gives."""
        return out.unflatten(1, (-1, self.config.mixtures)).split(self.parts, 1)

    def _mixture(self, h: Tensor) -> Mixture:
        logits, means, log_scales, slopes = self._of_parts(self.head(F.elu(h)))
        return Mixture(logits[:, 0], means, bounded_log_scale(log_scales), torch.tanh(slopes))

    def _entered(self, x: Tensor) -> Tensor:
        """Return x in [-1, 1] with its places, and zeros above and to the left."""
        _, H, W = self.shape
        rows, columns = (
            torch.linspace(-1, 1, side, dtype=x.dtype, device=x.device) for side in (H, W)
        )
        places = torch.stack([x.new_ones(H, W), *torch.meshgrid(rows, columns, indexing="ij")])
        return F.pad(torch.cat([2 * x - 1, places.expand(len(x), -1, -1, -1)], 1), (1, 0, 1, 0))

    def mixture(self, x: Tensor) -> Mixture:
        """Return the distribution of each pixel of x (N, C, H, W), given those before it."""
        entered = self._entered(x)
        v = self.enter_down(entered[:, :, :-1, 1:])
        h = self.enter_right(entered[:, :, 1:, :-1])
        for layer in self._layers():
            v = layer.vertical(F.pad(v, (0, 0, 1, 0)))
            h = layer.horizontal(F.pad(h, (1, 0)), v)
        return self._mixture(h)

    def conditionals(self, x: Tensor) -> Tensor:
        """Return the log probability of each level of x, given those before it, in nats.

        Arguments:
            x: Images (N, C, H, W) = k/255.

        Returns:
            (N, C, H, W); the order is by rows, then columns, then channels.
        """
        mixture = self.mixture(x)
        joint = F.log_softmax(mixture.logits, 1)  # of a logistic and the channels so far
        found = []
        before = torch.zeros_like(joint[:, 0])
        for c in range(self.shape[0]):
            at, log_scale = mixture.location(c, x), mixture.log_scales[:, c]
            joint = joint + discretised_logistic(x[:, c : c + 1], at, log_scale)
            now = joint.logsumexp(1)
            found.append(now - before)
            before = now
        return torch.stack(found, 1)

    def position_costs(self, x: Tensor) -> Tensor:
        """Return what each value of x (N, C, H, W) costs, given those before it, (N, T) in nats."""
        return -self.conditionals(x).flatten(1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log probability (N,), in nats, of the levels x (N, C, H, W) = k/255."""
        return -self.position_costs(x).sum(1)

    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log P(x) (N,) in nats of x (N, C, H, W) = k/255; nothing is drawn."""
        return -self.log_prob(x)

    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return -log2 P(x) / dimensions, (N,), of 8-bit x (N, C, H, W) = k/255."""
        return -self.log_prob(x) / (math.prod(self.shape) * math.log(2))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Return n draws (n, C, H, W) on the grid k/255.

        Each layer keeps its row above and its pixel before, so that all pixels together cost about
        one forward pass.
        """
        C, H, W = self.shape
        weight, layers = self.head.weight, self._layers()
        choices = drawn("uniform", (n, 1, H, W), generator).to(weight)
        units = torch.logit(drawn("uniform", (n, C, H, W), generator), eps=1e-6).to(weight)
        x = weight.new_zeros(n, C, H, W)
        entered = self._entered(x)
        above = [weight.new_zeros(n, self.config.hidden, 1, W) for _ in layers]
        for i in range(H):
            v, verticals = self.enter_down(entered[:, :, i : i + 1, 1:]), []
            for k, layer in enumerate(layers):
                above[k], v = v, layer.vertical(torch.cat([above[k], v], 2))
                verticals.append(v)
            left = [weight.new_zeros(n, self.config.hidden, 1, 1) for _ in layers]
            for j in range(W):
                h = self.enter_right(entered[:, :, i + 1 : i + 2, j : j + 1])
                for k, layer in enumerate(layers):
                    both = torch.cat([left[k], h], 3)
                    left[k], h = h, layer.horizontal(both, verticals[k][..., j : j + 1])
                here = (..., slice(i, i + 1), slice(j, j + 1))
                x[here] = _pixel(self._mixture(h), choices[here], units[here])
                entered[:, :C, i + 1, j + 1] = 2 * x[..., i, j] - 1
        return x


def _pixel(mixture: Mixture, choice: Tensor, units: Tensor) -> Tensor:
    """Return a draw (N, C, 1, 1) of a mixture.

    Arguments:
        mixture: of one pixel.
        choice: uniform (N, 1, 1, 1).
        units: standard logistic (N, C, 1, 1).
    """
    shares = mixture.logits.softmax(1).cumsum(1)[:, :-1]
    k = (shares <= choice).sum(1, keepdim=True)
    x = torch.empty_like(units)
    for c in range(units.shape[1]):
        scale = mixture.log_scales[:, c].gather(1, k).exp()
        value = mixture.location(c, x).gather(1, k) + scale * units[:, c : c + 1]
        x[:, c : c + 1] = (value.clamp(0, 1) * 255).round() / 255
    return x
