"""Images made from a set's own: near sets to be told from it, and outliers to choose detectors by.

``NEAR`` are looks of an image that a benchmark counts as out of distribution. ``OUTLIERS`` stand in
for foreign data while a detector is chosen, so no foreign data has to be seen; they share no recipe
with the near sets. Half of them are more complex than their originals and half simpler, since a
generative model finds simple data likely (Input Complexity and Out-of-distribution Detection with
Likelihood-based Generative Models, Serra et al., 2020, arXiv:1909.11480).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter
from torch import Generator, Tensor

from fimetric.data import Samples
from fimetric.noise import drawn

Look = Callable[[Tensor, Generator], Tensor]  # (N, C, H, W) in [0, 1] -> the same


def make(recipe: str, samples: Samples, seed: int = 0) -> Samples:
    """Return a variant of 8-bit images, as 8-bit images; one for each sample, under its id.

    Arguments:
        recipe: a name in ``NEAR`` or ``OUTLIERS``.
        samples: N images, height and width divisible by 8.
        seed: of what the recipe draws.

    Raises:
        ValueError: for an unknown recipe, or samples that are no such images.
    """
    known = {**NEAR, **OUTLIERS}
    if recipe not in known:
        raise ValueError(f"no variant {recipe!r}; there are {', '.join(known)}")
    shape = samples.shape
    if not samples.quantised or len(shape) != 3 or shape[1] % 8 or shape[2] % 8:
        raise ValueError(
            f"{samples.name} has samples of shape {shape}; variants are made of 8-bit images "
            "(C, H, W) with height and width divisible by 8"
        )
    x = known[recipe](samples.tensor(), Generator().manual_seed(seed))
    levels = (255 * x.clamp(0, 1)).round().to(torch.uint8)
    return Samples(levels, samples.ids, f"{samples.name}, {recipe}")


def rotated(x: Tensor, generator: Generator) -> Tensor:
    """Turn by a quarter."""
    return x.rot90(1, (2, 3))


def flipped(x: Tensor, generator: Generator) -> Tensor:
    """Turn upside down, as in a mirror."""
    return x.flip(2)


def blurred(x: Tensor, generator: Generator) -> Tensor:
    """Blur by a Gaussian of one pixel."""
    return torch.from_numpy(gaussian_filter(x.numpy(), (0, 0, 1.0, 1.0), mode="nearest"))


def noisy(x: Tensor, generator: Generator) -> Tensor:
    """Add Gaussian noise of a tenth of the range."""
    return x + 0.1 * drawn("normal", x.shape, generator)


def pale(x: Tensor, generator: Generator) -> Tensor:
    """Halve the contrast about the mean of each image."""
    mean = x.mean((1, 2, 3), keepdim=True)
    return mean + 0.5 * (x - mean)


def shuffled(x: Tensor, side: int, generator: Generator) -> Tensor:
    """Lay the square patches of each image in random order."""
    patches = F.unfold(x, side, stride=side)  # (N, C * side * side, patches)
    order = drawn("uniform", (len(x), patches.shape[2]), generator).argsort(1)
    mixed = patches.gather(2, order[:, None].expand_as(patches))
    return F.fold(mixed, x.shape[2:], side, stride=side)


def spliced(x: Tensor, generator: Generator) -> Tensor:
    """Put the left half of each image beside the right half of another."""
    left, right = x.chunk(2, 3)
    return torch.cat([left, others(right, generator)], 3)


def averaged(x: Tensor, generator: Generator) -> Tensor:
    """Take the mean of each image and another."""
    return (x + others(x, generator)) / 2


def enlarged(x: Tensor, generator: Generator) -> Tensor:
    """Enlarge the middle quarter of each image to its size, bilinearly."""
    H, W = x.shape[2:]
    middle = x[:, :, H // 4 : H - H // 4, W // 4 : W - W // 4]
    return F.interpolate(middle, (H, W), mode="bilinear", align_corners=False)


def tiled(x: Tensor, generator: Generator) -> Tensor:
    """Cover each image with copies of a patch of its middle, a quarter of it in each direction."""
    H, W = x.shape[2:]
    top, left = 3 * H // 8, 3 * W // 8
    return x[:, :, top : top + H // 4, left : left + W // 4].repeat(1, 1, 4, 4)


def others(x: Tensor, generator: Generator) -> Tensor:
    """Give each of the samples (N, ...) another's place: a random cycle, so none keeps its own."""
    order = torch.randperm(len(x), generator=generator)
    cycle = torch.empty_like(order)
    cycle[order] = order.roll(1)
    return x[cycle]


NEAR: dict[str, Look] = {
    "rotated": rotated,
    "flipped": flipped,
    "blurred": blurred,
    "noisy": noisy,
    "pale": pale,
}
OUTLIERS: dict[str, Look] = {
    "patches of 8 shuffled": lambda x, g: shuffled(x, 8, g),
    "patches of 4 shuffled": lambda x, g: shuffled(x, 4, g),
    "halves of two": spliced,
    "mean of two": averaged,
    "middle enlarged": enlarged,
    "patch tiled": tiled,
}
