"""Sound in files and bytes, WAV, FLAC, OGG and MP3: what it is, and its values as one clip.

Read by libsndfile, through soundfile; resampled by ``scipy.signal.resample_poly``.
"""

import io
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from scipy.signal import resample_poly
from torch import Tensor

from fimetric.libraries import library

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
LONGEST = 1 << 28  # values of one clip, all channels together: 1 GiB
LOST = 1 << 12  # values at the end that a header may promise and a decoder drop, as of MP3
CUT = re.compile(r"data : (?!4294967295)\d+ \(should be|Ogg ?: (File ended|Junk|Last page lacks)")
"""What libsndfile notes of a file that ends too soon; a stream of unknown length has 2^32 - 1."""


@dataclass(frozen=True)
class Sound:
    """A sound that is not decoded yet.

    Arguments:
        source: its file, or the bytes of one.
        where: what it is, for messages.
        rate: values a second, of each channel.
        frames: values of each channel.
        channels: their number.
    """

    source: Path | bytes
    where: str
    rate: int
    frames: int
    channels: int

    def length(self, rate: int) -> int:
        """Return the number of values at a rate."""
        return -(-self.frames * rate // self.rate)

    def clip(self, rate: int) -> Tensor:
        """Return the mean of its channels at a rate, float32 (T,), full scale being -1 to 1.

        Raises:
            ValueError: where it is damaged.
        """
        soundfile = library("soundfile", "fimetric[audio]")
        try:
            with _opened(self.source) as stream:
                found, _ = soundfile.read(stream, dtype="float64", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise ValueError(_damaged(self.where, error)) from error
        if len(found) < self.frames - LOST or not len(found):
            said = f"it ends after {len(found)} of {self.frames} values"
            raise ValueError(_damaged(self.where, said))
        mono = found.mean(1)
        if rate != self.rate:
            shared = math.gcd(rate, self.rate)
            mono = resample_poly(mono, rate // shared, self.rate // shared)
        return torch.from_numpy(mono.astype(np.float32))


def sound(source: Path | bytes, where: str) -> Sound:
    """Return a sound of whose file the head alone is read.

    Raises:
        ImportError: without soundfile.
        ValueError: for what is no sound, ends too soon, is empty, or too long.
    """
    soundfile = library("soundfile", "fimetric[audio]")
    try:
        with _opened(source) as stream:
            info = soundfile.info(stream, verbose=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(
            f"{where} is damaged or no sound that is read ({_said(error)}), which are WAV, FLAC, "
            "OGG and MP3; repair, convert or remove it"
        ) from error
    if CUT.search(info.extra_info):
        raise ValueError(_damaged(where, "it ends too soon"))
    if not info.frames:
        raise ValueError(f"{where} holds no sound: it has 0 values; remove it")
    if info.frames * info.channels > LONGEST:
        raise ValueError(
            f"{where} has {info.frames} values of {info.channels} channels, and a clip is read up "
            f"to {LONGEST} in all; cut it into shorter ones"
        )
    return Sound(source, where, info.samplerate, info.frames, info.channels)


def is_sound(data: bytes) -> bool:
    """Return whether bytes begin as a file of sound does, and not as one of a picture."""
    wave = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    frame = data[:1] == b"\xff" and data[1:2] >= b"\xe0" and data[1:2] != b"\xff"
    jpeg = data[:2] == b"\xff\xd8"
    return wave or data[:4] in (b"fLaC", b"OggS") or data[:3] == b"ID3" or (frame and not jpeg)


def _opened(source: Path | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _damaged(where: str, why: object) -> str:
    return f"{where} is damaged ({_said(why)}); copy it again, or remove it"


def _said(error: object) -> str:
    """Return what a library says, without the objects in memory that it names."""
    return re.sub(r"^Error(?: opening .*?)? ?: ", "", str(error)).rstrip(".")
