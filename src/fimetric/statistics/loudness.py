"""How loud a sound is, whatever any model thinks: what a detector of sounds has to beat."""

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import clips_of

FRAME = 64  # values
QUIET = 1e-2  # of the loudest frame: 40 dB
STEP = 2.0**-15  # of 16 bits: what is softer is silence


class Loudness(Statistic):
    """Creates the energy of a clip in three numbers, a baseline without a model.

    ``log_rms`` is the logarithm of the root mean square, of one step of 16 bits at least;
    ``crest`` the logarithm of the peak over it; ``silent`` the share of frames of 64 values whose
    root mean square is at most a hundredth of the loudest frame's, 40 dB below. What the clip
    sounds like is no part of them: a detector that is no better has heard the volume alone.
    """

    name = "loudness"

    @property
    def names(self) -> list[str]:
        """Names of the three numbers."""
        return ["log_rms", "crest", "silent"]

    def measure(self, x: Input) -> Tensor:
        """Return the numbers (N, 3) of clips x (N, T), in float64.

        Raises:
            ValueError: for what are no clips.
        """
        clips = clips_of(self.objective, x).double()
        rms = _rms(clips).clamp_min(STEP)
        frames = torch.stack([_rms(part) for part in clips.split(FRAME, 1)], 1)
        silent = frames <= QUIET * frames.amax(1, keepdim=True)
        peak = clips.abs().amax(1).clamp_min(STEP)
        return torch.stack([rms.log(), (peak / rms).log(), silent.double().mean(1)], 1)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean(1).sqrt()
