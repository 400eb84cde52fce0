"""Log-mel spectrograms: how loud a sound is in each band of hearing, frame by frame."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fimetric.libraries import library

FLOOR = 1e-8  # power: 80 dB below full scale
LEAST_WINDOW = 4


class LogMel(nn.Module):
    """Creates a front end: clips (N, T) -> natural logarithms of power, (N, 1, bands, T / hop).

    Frame i is the Hann window around the middle of the i-th ``hop`` values, the clip being
    reflected at both ends. Powers are such that white noise of variance v has log(v + ``FLOOR``)
    in every band, in expectation of the power: a band is a mean of the periodogram by a triangle
    on the mel scale of Slaney, as librosa's is by default.

    Arguments:
        rate: values a second.
        bands: number of mel bands from 0 to rate / 2.
        hop: values from one frame to the next.
        window: values of a frame, more than ``hop``.

    Raises:
        ImportError: without transformers, which has the filters.
        ValueError: for a window that is not longer than the hop by an even number, or so many
            bands that one has no frequency.
    """

    filters: Tensor
    taper: Tensor

    def __init__(self, rate: int = 8000, bands: int = 32, hop: int = 64, window: int = 256) -> None:
        super().__init__()
        if window <= hop or (window - hop) % 2 or window < LEAST_WINDOW:
            raise ValueError(
                f"a window of {window} values and a hop of {hop}: it must be longer than the hop "
                "by an even number"
            )
        self.rate, self.bands, self.hop, self.window = rate, bands, hop, window
        filters = _filters(rate, bands, window)
        self.register_buffer("filters", filters, persistent=False)
        taper = torch.hann_window(window, dtype=torch.float32)
        self.register_buffer("taper", taper / taper.square().sum().sqrt(), persistent=False)

    def frames(self, length: int) -> int:
        """Return the number of frames of a clip of so many values.

        Raises:
            ValueError: for a clip that is no whole number of hops, or too short.
        """
        least = (self.window - self.hop) // 2
        if length % self.hop or length <= least:
            raise ValueError(
                f"clips of {length} values have no whole number of frames; cut them to a multiple "
                f"of {self.hop} above {least}"
            )
        return length // self.hop

    def forward(self, x: Tensor) -> Tensor:
        """Return the spectrograms (N, 1, bands, T / hop) of clips x (N, T).

        Raises:
            ValueError: for clips of a length that ``frames`` refuses.
        """
        self.frames(x.shape[-1])
        beside = (self.window - self.hop) // 2
        padded = F.pad(x[:, None], (beside, beside), mode="reflect")[:, 0]
        framed = padded.unfold(1, self.window, self.hop) * self.taper.to(x)  # (N, frames, window)
        spectrum = torch.fft.rfft(framed)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power @ self.filters.to(x) + FLOOR).log().mT[:, None]


def _filters(rate: int, bands: int, window: int) -> Tensor:
    """Return the weights (window / 2 + 1, bands) of each band, which sum to one.

    Raises:
        ImportError: saying how to install what has the filters.
        ValueError: where a band has no frequency.
    """
    mel_filter_bank = library("transformers.audio_utils", "fimetric[audio]").mel_filter_bank
    fewest = window // 2 + 1
    if bands >= fewest:
        raise ValueError(f"{bands} bands of {fewest} frequencies; take fewer, or a longer window")
    made = mel_filter_bank(fewest, bands, 0.0, rate / 2, rate, mel_scale="slaney")
    sums = made.sum(0)
    if not (sums > 0).all():
        raise ValueError(
            f"{int((sums == 0).sum())} of {bands} bands hold none of the {fewest} frequencies; "
            "take fewer bands, or a longer window"
        )
    return torch.tensor(made / sums, dtype=torch.float32)
