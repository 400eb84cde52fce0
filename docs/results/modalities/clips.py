"""Clips of sound of one length and one loudness, so that neither tells one set from another."""

import io
from dataclasses import dataclass, replace

import numpy as np
import soundfile
from numpy.typing import NDArray

import fimetric as fm

RATE, LENGTH = 8000, 2048  # values a second; values of a clip, 0.256 s
LEVEL = 0.03  # root mean square, of the full scale of 1: no clip of the sets goes beyond that
FULL = 1 << 15
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Clip:
    """A clip of a data set: mono, with the name of its file."""

    name: str
    values: Values
    label: int


def stored(data: str, part: str) -> list[Clip]:
    """Return the clips of a part of a data set, mixed to mono, in their order."""
    found = fm.data.load(data, part, rate=RATE)
    each = zip(found.ids, found.raw(range(len(found))), found.kept["label"], strict=True)
    return [Clip(name, x.double().numpy(), int(label)) for name, x, label in each]


def loudest(values: Values) -> Values | None:
    """Return the first of the windows of most energy about their own mean; None where it has none.

    That is so for a clip shorter than a window, and for one that is constant throughout.
    """
    if len(values) < LENGTH:
        return None
    # Sums of all windows at once: values of 16 bits and their squares are added without error.
    sums, squares = (np.cumsum(np.append(0.0, each)) for each in (values, values**2))
    total, square = (each[LENGTH:] - each[:-LENGTH] for each in (sums, squares))
    start = int(np.argmax(square - total**2 / LENGTH))
    window = values[start : start + LENGTH]
    return window if np.ptp(window) else None


def levelled(values: Values) -> Values:
    """Return values without their mean, and with the level of all clips."""
    centred = values - values.mean()
    return centred * (LEVEL / np.sqrt(np.mean(centred**2)))


def prepared(clips: list[Clip]) -> list[Clip]:
    """Return the loudest window of each clip that has one, at one level."""
    windows = ((clip, loudest(clip.values)) for clip in clips)
    return [replace(clip, values=levelled(x)) for clip, x in windows if x is not None]


def noisy(values: Values, decibels: float, random: np.random.Generator) -> Values:
    """Return a clip with white Gaussian noise added, at its level again.

    Arguments:
        decibels: power of the clip over the expected power of the noise.
        random: draws the noise.
    """
    noise = random.standard_normal(len(values)) * LEVEL * 10 ** (-decibels / 20)
    return levelled(levelled(values) + noise)


def whole_numbers(values: Values) -> NDArray[np.int16]:
    """Return values rounded to 16 bits; those beyond the full scale are clipped."""
    return np.clip(np.rint(values * FULL), -FULL, FULL - 1).astype(np.int16)


def wav(values: Values) -> bytes:
    """Return the bytes of a WAV file of 16 bits."""
    file = io.BytesIO()
    soundfile.write(file, whole_numbers(values), RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def clipped(clips: list[Clip]) -> float:
    """Return the share of values that 16 bits do not hold."""
    beyond = [np.rint(clip.values * FULL) for clip in clips]
    return float(np.mean([(x < -FULL) | (x > FULL - 1) for x in beyond]))
