"""Data by name, and the part of it that is asked for."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fimetric.arguments import folder_of
from fimetric.data.asked import Asked
from fimetric.data.samples import Samples, refuse_other_shape, refuse_outside
from fimetric.data.sources import opened

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Named:
    """Data by name, and the part of it that is asked for; see ``fimetric.data.load``.

    ``condition`` is the column that a loss is told, which is kept beside the data.
    """

    split: str = "test"
    limit: int | None = None
    size: int | None = None
    channels: int | None = None
    column: str | None = None
    rate: int | None = None
    condition: str | None = None

    def open(self, source: str, shape: Shape | None = None) -> Samples:
        """Return a data set.

        Arguments:
            source: its name.
            shape: of the samples that a model takes; None allows any.

        Raises:
            ValueError: for samples of another shape, or pictures outside [0, 1], saying what to do;
                and whatever ``load`` raises.
            TypeError: for texts, or clips of several lengths, where the model takes one shape.
        """
        place = folder_of(source, "the name of the data")
        if not place.exists() and os.path.isdir(f"{source}.parts"):  # whose name may be too long
            raise ValueError(
                f"the extraction of {source} was stopped before its end; call `fimetric extract` "
                "again as before to finish it"
            )
        asked = {name: value for name, value in vars(self).items() if name != "split"}
        samples = opened(source, self.split, Asked(**asked))
        if shape is not None:
            refuse_other_shape(samples, shape, _advice(samples, shape))
        if samples.pictures:
            refuse_outside(samples)
        return samples

    def open_all(self, sources: Sequence[str], shape: Shape | None = None) -> Mapping[str, Samples]:
        """Return several data sets by their names.

        Raises:
            ValueError: where two would go by one name.
        """
        found: dict[str, Samples] = {}
        for source in sources:
            samples = self.open(source, shape)
            if samples.name in found:
                raise ValueError(
                    f"two data sets are called {samples.name!r}, the second is {source}; leave one "
                    "out, or rename its file or folder"
                )
            found[samples.name] = samples
        return found


def _advice(samples: Samples, shape: Shape) -> str:
    if not samples.quantised or len(samples.shape) != 3:
        return f"store the samples as (N, {', '.join(map(str, shape))})"
    options = []
    if samples.shape[0] != shape[0]:
        options.append(f"--channels {shape[0]}")
    if samples.shape[1:] != shape[1:]:
        if shape[1] != shape[2]:
            return f"resize the pictures to {shape[1]}x{shape[2]} (height x width)"
        options.append(f"--size {shape[1]}")
    return f"pass {' '.join(options)}, or take a model trained on such data"
