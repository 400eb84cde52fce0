"""How long an image is when a general-purpose compressor writes it, whatever any model thinks."""

from typing import Any

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.data.codes import code_lengths, compressors, levels_of
from fimetric.data.kinds import data_of
from fimetric.statistics.base import Statistic


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
        return list(compressors())

    def settings(self) -> dict[str, Any]:
        """Return the compressors."""
        return {"compressors": self.names}

    def measure(self, x: Input) -> Tensor:
        """Return the code lengths (N, K) in nats of images x (N, C, H, W) = k/255, in float64.

        Raises:
            ValueError: for other than one or three channels, or values off the grid k/255.
        """
        return torch.stack(list(code_lengths(levels_of(data_of(x))).values()), 1)
