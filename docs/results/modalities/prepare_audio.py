"""Write the sets of sound of a page: python docs/results/modalities/prepare_audio.py.

Needs FIMETRIC_DATA and soundfile; takes seconds. Every clip is one window of one loudness. Of the
speakers of digits the last by the alphabet is judged as foreign; of the others recordings 15 and
above are to train on, 5 to 14 to fit and calibrate on, 0 to 4 to test.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from clips import Clip, Values, clipped, loudest, noisy, prepared, stored, wav
from scipy.signal import resample_poly
from sets import PLACE, SEED, write, write_counts

OWN, LEFT_OUT, FOREIGN = "fsdd", "yweweler", ("esc10", "music_samples")
OF_EACH = 300  # clips of a foreign set at most
RECORDINGS = {  # of the own speakers
    "fsdd/train": range(15, 50),
    "fsdd-reference/test": range(5, 15),
    "fsdd/test": range(5),
}
DECIBELS = (20, 10, 0)  # of the own clips over the noise


def main(place: Path = PLACE) -> None:
    spoken = both_parts(OWN)
    sixth = [clip for clip in spoken if speaker(clip) == LEFT_OUT]
    sets = {name: (clips := of(spoken, name), prepared(clips)) for name in RECORDINGS}
    own, windows = sets["fsdd/test"]
    sets["sixth-speaker/test"] = sixth, some(prepared(sixth))
    for decibels in DECIBELS:
        random = np.random.default_rng([SEED, decibels])
        noise = changed(windows, partial(noisy, decibels=decibels, random=random))
        sets[f"noise-{decibels}dB/test"] = own, noise
    sets["time-reversed/test"] = own, changed(windows, lambda x: x[::-1])
    fast = changed(own, faster)
    sets["other-rate/test"] = fast, prepared(fast)
    for name in FOREIGN:
        clips = both_parts(name)
        sets[f"{name}/test"] = clips, prepared(clips)[:OF_EACH]
    counts = {name: put(place / name, *each) for name, each in sets.items()}
    write_counts(place / "audio.json", counts)


def both_parts(data: str) -> list[Clip]:
    """Return all clips of a data set, those of its test part first."""
    return stored(data, "test") + stored(data, "train")


def speaker(clip: Clip) -> str:
    return clip.name.split("_")[1]


def of(spoken: list[Clip], name: str) -> list[Clip]:
    """Return the clips of the own speakers that go to a part of ``RECORDINGS``."""
    own = [clip for clip in spoken if speaker(clip) != LEFT_OUT]
    return [c for c in own if int(c.name[: -len(".wav")].split("_")[2]) in RECORDINGS[name]]


def some(clips: list[Clip]) -> list[Clip]:
    """Return as many as a foreign set has, drawn by the seed."""
    order = np.random.default_rng(SEED).permutation(len(clips))[:OF_EACH]
    return [clips[i] for i in order]


def changed(clips: list[Clip], change: Callable[[Values], Values]) -> list[Clip]:
    return [replace(clip, values=change(clip.values)) for clip in clips]


def faster(values: Values) -> Values:
    """Return a clip played 1.25 times as fast, at the same rate."""
    return resample_poly(values, 4, 5)


def put(path: Path, clips: list[Clip], made: list[Clip]) -> dict[str, float]:
    """Write a part of a set, and return its counts.

    Arguments:
        path: of the part, without suffix.
        clips: those that windows were taken of.
        made: those that it has.
    """
    audio = [{"bytes": wav(clip.values), "path": clip.name} for clip in made]
    write(path.parent, path.name, {"audio": audio, "label": [clip.label for clip in made]})
    short = sum(loudest(clip.values) is None for clip in clips)
    return {"samples": len(made), "left_out": short, "clipped_values": clipped(made)}


if __name__ == "__main__":
    main()
