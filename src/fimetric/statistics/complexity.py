"""How long an image is when a general-purpose compressor writes it, whatever any model thinks."""

import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.codes import file_length, levels_of, picture, png_length
from fimetric.data.kinds import data_of
from fimetric.statistics.base import Statistic

Pixels = NDArray[np.uint8]


class CodeLengths(Statistic):
    r"""Creates the code lengths of an 8-bit image, in nats: L(x) = 8 log 2 times its bytes.

    ``png`` is the optimised file, ``jpeg2000`` the codestream of the reversible wavelet (left out
    where Pillow was built without OpenJPEG), ``zlib`` the planes (C, H, W) at the highest level.
    Headers count. With the objective's loss in nats, ``InputComplexity`` takes the difference.

    References:
        Input complexity and out-of-distribution detection with likelihood-based generative models
        (Serra, Alvarez, Gomez, Slizovskaia, Nunez and Luque, 2020, arXiv 1909.11480)
    """

    name = "code-lengths"

    @property
    def names(self) -> list[str]:
        """The compressors there are: ``png``, ``jpeg2000`` and ``zlib``."""
        return list(_compressors())

    def settings(self) -> dict[str, Any]:
        """Return the compressors."""
        return {"compressors": self.names}

    def measure(self, x: Input) -> Tensor:
        """Return the code lengths (N, K) in nats of images x (N, C, H, W) = k/255, in float64.

        Raises:
            ValueError: for other than one or three channels, or values off the grid k/255.
        """
        images = levels_of(data_of(x)).cpu().numpy().astype(np.uint8)
        counts = [[length(pixels) for length in _compressors().values()] for pixels in images]
        return 8 * math.log(2) * torch.tensor(counts, dtype=torch.float64)


def _compressors() -> dict[str, Callable[[Pixels], int]]:
    """Return name -> bytes of an image (C, H, W)."""
    found: dict[str, Callable[[Pixels], int]] = {"png": lambda pixels: png_length(picture(pixels))}
    if features.check("jpg_2000"):
        found["jpeg2000"] = lambda pixels: jpeg2000_length(picture(pixels))
    found["zlib"] = lambda pixels: len(zlib.compress(pixels.tobytes(), 9))
    return found


def jpeg2000_length(image: Image.Image) -> int:
    """Return the bytes of an image as a lossless JPEG-2000 codestream."""
    return file_length(image, "JPEG2000", irreversible=False, no_jp2=True)
