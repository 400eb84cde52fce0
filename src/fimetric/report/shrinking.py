"""Pictures in a third of the bytes that matplotlib takes for them."""

from pathlib import Path

import numpy as np
from PIL import Image


def shrink(path: Path, palette: bool = True) -> None:
    """Write a PNG again in fewer bytes.

    Arguments:
        path: of the picture, which becomes one of greys where it has no other colours.
        palette: whether 256 colours will do where it has.
    """
    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    red, *others = plain.split()
    if all(other.tobytes() == red.tobytes() for other in others):
        plain = red
    elif palette:
        plain = _by_palette(plain)
    plain.save(path, "png", optimize=True)


def _by_palette(plain: Image.Image) -> Image.Image:
    """Return a picture in 256 colours, each the most frequent of those that it stands for.

    So white stays white, and an area keeps the colour that a legend gives it. An octree, unlike a
    median cut, has room for colours that are rare.
    """
    found = plain.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    colours = np.asarray(plain, np.int64) @ (1 << 16, 1 << 8, 1)
    both, counts = np.unique(np.asarray(found, np.int64) << 24 | colours, return_counts=True)
    both = both[np.argsort(counts, kind="stable")]  # so the most frequent is written last
    palette = np.zeros((256, 3), np.uint8)
    palette[both >> 24] = np.stack([both >> shift & 255 for shift in (16, 8, 0)], axis=1)
    found.putpalette(palette.tobytes())
    return found
