"""Clips of sound as a data set: decoded when they are asked for, each of its own length."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor

from fimetric.arguments import whole_or_none
from fimetric.data.batch import Batch
from fimetric.data.kinds import FLOATS
from fimetric.data.prepared import Prepare
from fimetric.data.samples import Kept, Samples
from fimetric.data.sounds import Sound
from fimetric.data.spec import Spec
from fimetric.data.telling import once

log = logging.getLogger(__name__)


class Clips(Samples):
    """Creates a data set of N clips of sound of one rate, each with an id.

    An item is ``{"x": float32 tensor (T,), "id": str}``, with what is kept beside it. Several
    channels are mixed to one by their mean, which is logged.

    Arguments:
        sounds: N sounds in files or bytes.
        ids, name, kept: see ``Samples``.
        rate: values a second that all are resampled to; their own if None.

    Raises:
        ValueError: for no sounds, another number of ids, or sounds of several rates where none is
            asked for.
    """

    columns = None
    pictures = False

    def __init__(
        self,
        sounds: Sequence[Sound],
        ids: Sequence[str] | None = None,
        name: str = "clips",
        *,
        kept: Kept | None = None,
        rate: int | None = None,
    ) -> None:
        self.sounds = list(sounds)
        self._called(len(self.sounds), ids, name, kept)
        self.rate = whole_or_none("rate", rate) or self._shared()

    def _shared(self) -> int:
        """Return the rate of all sounds.

        Raises:
            ValueError: naming the first that has another than the first of all.
        """
        first = self.sounds[0]
        for sound in self.sounds:
            if sound.rate != first.rate:
                raise ValueError(
                    f"clips differ: {first.where} has {first.rate} values a second, {sound.where} "
                    f"has {sound.rate}; pass rate={min(first.rate, sound.rate)} to resample them"
                )
        return first.rate

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return clip and id; an index out of range raises IndexError, so that iteration ends."""
        return {"x": self.sounds[index].clip(self.rate), **self._beside(index)}

    @property
    def values(self) -> Tensor:
        """Clips have none in memory.

        Raises:
            TypeError: always, saying what to do.
        """
        raise TypeError(
            f"{self.name} holds clips of sound, decoded when they are asked for; take raw(rows) or "
            "tensor(rows)"
        )

    @property
    def lengths(self) -> set[int]:
        """How many values a clip has, each number once."""
        return {sound.length(self.rate) for sound in self.sounds}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample, (T,), where all have one length.

        Raises:
            TypeError: where they have not.
        """
        lengths = self.lengths
        self._refuse_several(lengths)
        return (lengths.pop(),)

    @property
    def spec(self) -> Spec:
        """Sound of this rate; how loud it is and how long is free."""
        return Spec(FLOATS, (None,), rate=self.rate)

    def tensor(self, indices: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return float32 (n, T) of clips of one length at ``indices``, by default all.

        Raises:
            TypeError: for clips of several lengths.
        """
        rows = range(len(self)) if indices is None else torch.as_tensor(indices).tolist()
        clips = self.raw(rows)
        self._refuse_several({len(clip) for clip in clips})
        return torch.stack(clips)

    def raw(self, rows: Iterable[int]) -> list[Tensor]:
        """Return some of the clips, float32 (T,) each."""
        return [self.sounds[i].clip(self.rate) for i in rows]

    def parts(self, rows: Sequence[int], prepare: Prepare | None) -> Iterator[Batch]:
        """Yield some clips, each as a batch of its own."""
        for row in rows:
            ids, kept = self._chosen([row])
            yield Batch(self.sounds[row].clip(self.rate)[None], ids, kept=kept, rate=self.rate)

    def _of(self, rows: list[int], ids: list[str], kept: dict[str, list[Any]]) -> Self:
        sounds = [self.sounds[i] for i in rows]
        return type(self)(sounds, ids, self.name, kept=kept, rate=self.rate)

    def _refuse_several(self, lengths: set[int]) -> None:
        """Refuse clips of several lengths where one tensor is asked for.

        Raises:
            TypeError: saying how long they are.
        """
        if len(lengths) > 1:
            raise TypeError(
                f"{self.name} holds clips of {min(lengths)} to {max(lengths)} values, which make "
                "no one tensor; cut them to one length, or take a model of any length"
            )


def told(clips: Clips, file: str | None = None) -> Clips:
    """Return clips, and log what is changed of them, of a file or folder once."""
    mixed = sum(sound.channels > 1 for sound in clips.sounds)
    if mixed:
        once(
            log,
            logging.WARNING,
            file,
            "%d of %d clips of %s have several channels: mixed to one by their mean",
            mixed,
            len(clips),
            clips.name,
        )
    other = sum(sound.rate != clips.rate for sound in clips.sounds)
    if other:
        once(
            log,
            logging.INFO,
            file,
            "%d of %d clips of %s are resampled to %d values a second",
            other,
            len(clips),
            clips.name,
            clips.rate,
        )
    return clips
