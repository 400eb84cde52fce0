"""The door before a model: each batch is checked against what a sample looks like.

All that streams data through a model passes here, batch by batch, before the model sees it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from dis import opmap
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from fimetric.data import Batch, Spec
from fimetric.data.kinds import FLOATS, INTEGERS, TOKENS, data_of, kind_of, shape_text
from fimetric.data.rows import samples_named
from fimetric.data.seen import Seen
from fimetric.features.screening import UninformativeError
from fimetric.objectives.base import Objective
from fimetric.objectives.takes import coarse_formats, length_dimension, vocabulary_of

logger = logging.getLogger(__name__)
OURS = Path(__file__).parents[1]  # of the package


class Intake:
    """Checks each batch of a stream, and learns what a sample looks like where it is not known.

    Arguments:
        objective: whose model the samples are for; what it states is refused from the first batch.
        known: what earlier data looked like; None learns it from this stream.
    """

    def __init__(self, objective: Objective, known: Spec | None = None) -> None:
        self.module, self.known = objective.module, known
        self.stated = objective.spec
        self._seen: Seen | None = None

    def __call__(self, batch: Batch) -> Batch:
        """Return the batch where it passes, as the model takes it.

        Raises:
            TypeError: for numbers of another kind.
            ValueError: for samples that follow another convention.
        """
        for spec in (self.stated, self.known):
            if spec is not None:
                spec.check(batch)
        if self.known is None:
            seen = Seen.of(batch)
            self._seen = seen if self._seen is None else self._seen.merge(seen)
            spec = self.spec
            if spec is not None and spec.kind == TOKENS:
                spec.check(batch)
        return of_autograd(batch)

    @property
    def spec(self) -> Spec | None:
        """What a sample looks like; None before the first batch."""
        if self.known is not None or self._seen is None:
            return self.known
        return self._of_the_model(Spec.of_seen(self._seen)).stated(self.stated)

    def tell(self) -> None:
        """Log the range that was learned, where shape and numbers alone told it."""
        spec = None if self.known is not None else self.spec
        if spec is not None and spec.inferred:
            assert spec.shape is not None
            logger.info(
                "the samples, %s of shape %s, are taken for pictures in %s, by their shape and "
                "numbers: data in another range will be refused",
                spec.kind,
                shape_text(spec.shape),
                spec.range,
            )

    def _of_the_model(self, spec: Spec) -> Spec:
        """Return what was learned with what the model tells of it."""
        tokens = spec.kind == INTEGERS and spec.shape is not None and len(spec.shape) == 1
        if tokens and not spec.others:  # with others, a table of embeddings may be of these
            vocabulary = vocabulary_of(self.module)
            if vocabulary is not None:
                return replace(
                    spec,
                    kind=TOKENS,
                    shape=(None,),
                    low=0,
                    high=vocabulary - 1,
                    vocabulary=vocabulary,
                    inferred=False,
                )
        place = length_dimension(self.module)
        if place is None or spec.kind != FLOATS or not spec.shape or len(spec.shape) > 2:
            return spec
        sides = list(spec.shape)
        sides[place] = None
        return replace(
            spec, shape=tuple(sides), low=None, high=None, levels=None, apart=False, inferred=False
        )


def of_autograd(batch: Batch) -> Batch:
    """Return the batch without tensors made inside ``inference_mode``: autograd keeps none."""
    x = batch.x
    if isinstance(x, Tensor):
        return replace(batch, x=x.clone()) if x.is_inference() else batch
    if any(v.is_inference() for v in x.values()):
        return replace(batch, x={key: v.clone() for key, v in x.items()})
    return batch


def refuse_idle_tensors(module: nn.Module) -> None:
    """Raise where torch would keep no graph of a model, or the model holds no numbers.

    Raises:
        RuntimeError: inside ``torch.inference_mode()``, or for a model made inside it.
        ValueError: for a model on the meta device, or without parameters.
    """
    if torch.is_inference_mode_enabled():
        raise RuntimeError(
            "gradients are needed here, and torch.inference_mode() forbids them; leave it for this "
            "call (torch.no_grad() does no harm)"
        )
    if next(module.parameters(), None) is None:
        raise ValueError(
            f"{type(module).__name__} has no parameters, so there is nothing of it to measure"
        )
    for name, parameter in module.named_parameters():
        if isinstance(parameter, UninitializedParameter):
            raise RuntimeError(
                f"the model's parameter {name!r} has no shape yet (a lazy layer); run the model "
                "once on a batch of its data"
            )
        if parameter.is_meta:
            raise ValueError(
                f"the model's parameter {name!r} is on the meta device, which holds no numbers; "
                "load the weights onto the cpu or a GPU first"
            )
        if parameter.is_inference():
            raise RuntimeError(
                f"the model's parameter {name!r} was made inside torch.inference_mode() and can "
                "have no gradient; build or load the model outside it"
            )


def refuse_labels(data: Any, calibration: Any) -> None:
    """Raise where labels are given for the data to calibrate on, as in scikit-learn's fit(X, y).

    Raises:
        TypeError: for one number or word a sample, where a sample has more.
    """
    values = calibration
    alike = isinstance(data, list | tuple) and isinstance(values, list | tuple)
    if alike and [type(v) for v in data[:1]] == [type(v) for v in values[:1]]:
        return
    plain = isinstance(values, list | tuple) and not any(hasattr(v, "shape") for v in values)
    if plain and not any(isinstance(v, list | tuple | dict) for v in values):
        values = np.array(values)
    if getattr(values, "ndim", None) == 1 and getattr(data, "ndim", 2) > 1:
        raise TypeError(
            f"calibration is a vector of {len(values)} labels; fit(data, calibration=None) takes "
            "no labels: its second argument is in-distribution data to calibrate on, or None"
        )


@contextmanager
def named_failures(module: nn.Module, batch: Batch) -> Iterator[None]:
    """Say of an error that a model raises from within on which samples it did, and what they are.

    Raises:
        RuntimeError: for the model's; our own, of any kind named here, is left as it is.
        TypeError: for the model's.
        ValueError: for the model's, and for those of its errors that are of another kind.
        LookupError: our own.
        AttributeError: our own.
        torch.OutOfMemoryError: as it is.
    """
    try:
        with samples_named(batch.ids):
            yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
        if _raised_by_us(error):
            raise
        kind = next((k for k in (RuntimeError, TypeError) if isinstance(error, k)), ValueError)
        raise kind(_failure(module, batch, error)) from error


@contextmanager
def coarse_format_named(module: nn.Module) -> Iterator[None]:
    """Say where no norm tells anything that the model rounds coarsely, which no table knows.

    Raises:
        UninformativeError: naming the number format and the remedy.
    """
    try:
        yield
    except UninformativeError as error:
        names = coarse_formats(module)
        if not names:
            raise
        raise UninformativeError(
            f"{error}. The model is in {names}, which rounds coarsely: bring it to float32 "
            "(model.float())"
        ) from error


def _raised_by_us(error: BaseException) -> bool:
    """Return whether an error comes from a ``raise`` in this package: torch's come from a call."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or OURS not in Path(trace.tb_frame.f_code.co_filename).parents:
        return False
    return trace.tb_frame.f_code.co_code[trace.tb_lasti] == opmap["RAISE_VARARGS"]


def _failure(module: nn.Module, batch: Batch, error: Exception) -> str:
    x = data_of(batch.x, likely=True)
    said = f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(".")
    hints = ""
    if isinstance(batch.x, dict):
        names = ", ".join(batch.x)
        hints += f" The loss gets a dictionary of {names}: pass the data alone, or as 'x'."
        if all(value.ndim == 1 for value in batch.x.values()):
            hints += " Of columns of numbers make a table: pandas.DataFrame(data)."
    if batch.kept:
        hints += (
            f" {', '.join(batch.kept)} is kept beside the data, for no loss: give it another name "
            "if the loss is to get it."
        )
    if kind_of(x) == INTEGERS:
        hints += (
            " Integers are not converted: give floats to a model of floats (sound of 16 bits: "
            "x / 32768), and token ids below its vocabulary to a model of tokens."
        )
    return (
        f"{type(module).__name__} fails on samples {batch.ids[0]} to {batch.ids[-1]}, of shape "
        f"{tuple(x.shape[1:])} and type {str(x.dtype).removeprefix('torch.')}: {said}. Check that "
        f"the model takes such a batch, {tuple(x.shape)}: the first dimension counts samples."
        f"{hints}"
    )
