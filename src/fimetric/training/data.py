"""The data of a run: what is fitted on, and what is held out to validate on."""

import logging
from typing import Any

import torch
from torch import Generator, Tensor

from fimetric.data import Samples, Texts, batches
from fimetric.data.clips import Clips
from fimetric.data.conventions import SIGNED, UNIT
from fimetric.data.samples import refuse_other_shape, refuse_outside
from fimetric.data.texts import as_texts
from fimetric.models import Model
from fimetric.models.family import family_of
from fimetric.training.seeds import number

log = logging.getLogger(__name__)
MOST_HELD_OUT = 512  # of the training data, for validation
FEW_HELD_OUT = 20  # below, their mean moves with every sample


def as_samples(data: Any, model: Model) -> Samples:
    """Return data of any kind as Samples of the model's shape; clips are decoded once.

    Raises:
        ValueError: for dictionaries of tensors, another shape, images outside of [0, 1], or sounds
            outside of [-1, 1].
        TypeError: for clips of several lengths, texts where the model takes numbers, and numbers
            where it takes texts.
    """
    if family_of(model).samples == "texts":
        return as_texts(data if isinstance(data, Samples) else _texts_in(data))
    if not isinstance(data, Samples):
        parts = list(batches(data, 1024))
        if any(not isinstance(part.x, Tensor) for part in parts):
            raise ValueError(
                "training takes samples of one tensor each; the data are dictionaries of several"
            )
        x = torch.cat([part.x for part in parts if isinstance(part.x, Tensor)])
        data = Samples(x, [i for part in parts for i in part.ids], "data")
    if isinstance(data, Clips):
        data = Samples(data.tensor(), data.ids, data.name, kept=data.kept)
    advice = "build it for that shape, or load the data with size= and channels="
    refuse_other_shape(data, model.shape, advice)
    ranges = {"images": UNIT, "sounds": SIGNED}
    if expected := ranges.get(family_of(model).samples):
        refuse_outside(data, expected)
    return data


def _texts_in(data: Any) -> Samples:
    """Return the texts in data of any kind, which stand as they are beside what is made of them.

    Raises:
        TypeError: where there are none.
    """
    parts = list(batches(data, 1024, prepare=lambda texts: torch.zeros(len(texts), 1)))
    texts = [text for part in parts for text in part.raw or ()]
    if not texts:
        raise TypeError("the data hold no texts, and the model is one of texts; give strings")
    return Texts(texts, [i for part in parts for i in part.ids], "data")


def split(data: Samples, validation: Any, model: Model, seed: int) -> tuple[Samples, Samples]:
    """Return the part to fit on and the part held out; few of these are told of in the log.

    Raises:
        ValueError: for fewer than two samples, where there is no ``validation``.
    """
    if validation is not None:
        return _told(data, as_samples(validation, model), model.UNIT)
    held = min(max(round(model.HELD_OUT * len(data)), 1), MOST_HELD_OUT)
    if len(data) < 2:
        raise ValueError(f"{data.name} has {len(data)} sample; training needs 2 at least")
    mixed = torch.randperm(len(data), generator=Generator().manual_seed(number(seed, 0, 4)))
    return _told(data.select(mixed[:-held]), data.select(mixed[-held:]), model.UNIT)


def _told(fit_on: Samples, held_out: Samples, unit: str) -> tuple[Samples, Samples]:
    """Return both parts, and log where few are held out: which weights are best is told by them."""
    if len(held_out) < FEW_HELD_OUT:
        log.warning(
            "%s: %d samples are trained on and %d held out; bits per %s of so few say little, "
            "and so does which weights are the best; give more samples",
            fit_on.name,
            len(fit_on),
            len(held_out),
            unit,
        )
    return fit_on, held_out
