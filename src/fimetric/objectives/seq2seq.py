"""Likelihoods of sequence-to-sequence language models."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fimetric.arguments import shown
from fimetric.data.batch import Input
from fimetric.data.rows import RowError
from fimetric.objectives.limits import refuse_beyond
from fimetric.objectives.logits import logits_of
from fimetric.objectives.one_pass import Shared
from fimetric.objectives.positions import Predicted, predicted
from fimetric.objectives.texts import Texts, texts_of
from fimetric.objectives.textual import IGNORED, Textual, costs
from fimetric.objectives.tokenizer import padded

logger = logging.getLogger(__name__)
SOURCE, SOURCE_MASK = "source_ids", "source_mask"
START = "prepare_decoder_input_ids_from_labels"


class Seq2SeqLM(Textual):
    """Creates the negative log-likelihood of a target text, given the source that it was made from.

        l(x) = - sum_t log p(x_t | x_1 .. x_t-1, source)

    over all tokens of the target. Samples are the targets; padding may stand anywhere in them.

    Arguments:
        model: as in transformers: ``input_ids`` and ``attention_mask`` of the source and
            ``decoder_input_ids`` -> object with ``logits`` (N, T, vocabulary). What the decoder
            reads of a target the model makes itself (``prepare_decoder_input_ids_from_labels``), or
            its ``config.decoder_start_token_id`` stands in front of it.
        tokenizer: of transformers; with it targets may be strings.
        condition: name of the column of sources, which are strings. None: the source is empty,
            which is logged. A batch may hold the tokens of its sources itself then, as
            ``source_ids`` and ``source_mask`` (N, S).

    Raises:
        TypeError: for a tokenizer of another library, a model that does not start its decoder, or a
            condition that is no name.
        ValueError: for a condition without a tokenizer; where nothing says what an empty source is.
    """

    kind = "likelihood"
    target = True

    def __init__(
        self, model: nn.Module, tokenizer: Any = None, condition: str | None = None
    ) -> None:
        super().__init__(self._negative_log_likelihood, model, tokenizer)
        if not hasattr(model, START) and self._start() is None:
            raise TypeError(
                f"{type(model).__name__} has neither {START}(labels) nor "
                "config.decoder_start_token_id, and nothing else says what its decoder reads of a "
                "target; give a sequence-to-sequence model of transformers"
            )
        self.condition = self._column(condition)
        self._empty = self._nothing() if condition is None else None

    def _column(self, condition: str | None) -> str | None:
        """Return the name of the column of sources as it is given.

        Raises:
            TypeError: for what is no name.
            ValueError: without a tokenizer, which sources need.
        """
        if not isinstance(condition, str | None):
            raise TypeError(f"condition must be the name of a column, not {shown(condition)}")
        if condition is not None and self._tokenizer is None:
            raise ValueError(
                f"condition={condition!r} is a column of strings: give the tokenizer too, or leave "
                f"the condition out and put the tokens into the batch as {SOURCE}"
            )
        return condition

    def _nothing(self) -> Tensor:
        """Return the tokens (1, S) of the empty source.

        Raises:
            ValueError: where it has none.
        """
        if self._tokenizer is not None:
            found = self._tokenizer([""])[0]
        else:
            ends = getattr(getattr(self.module, "config", None), "eos_token_id", None)
            found = [ends] if isinstance(ends, int) else []
        if not found:
            raise ValueError(
                "the empty source has no token; name the column of sources by condition="
            )
        logger.warning(
            "no condition= names a column of sources: every text is judged as what %s writes of an "
            "empty source, tokens %s",
            type(self.module).__name__,
            found,
        )
        return torch.tensor([found])

    def tell(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return the tokens of sources, (N, S), and where they are no padding.

        Raises:
            TypeError: for a source that is no string, naming the row.
            RowError: for one without tokens or with more than the model has positions.
        """
        assert self._tokenizer is not None  # a condition needs one
        ids = self._tokenizer(values)
        for row, tokens in enumerate(ids):
            if not tokens:
                raise RowError([row], " has no token; leave it out", "the source of ")
        self._refuse_long(values, ids)
        return dict(zip((SOURCE, SOURCE_MASK), padded(ids), strict=True))

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of tokens of each target (N,), without padding."""
        return self._read_texts(batch).mask.sum(1).cpu()

    def _read_texts(self, batch: Input) -> Texts:
        return super()._read_texts(_apart(batch)[0])

    def settings(self) -> dict[str, Any]:
        """Return the column of sources, and a hash of the tokenizer where there is one."""
        return {"condition": self.condition, **self._told()}

    def _negative_log_likelihood(self, batch: Input) -> Tensor:
        texts, logits = self._predictions(batch)
        return costs(logits, texts.tokens.where(texts.mask, IGNORED)).sum(1)

    def shared(self) -> list[Shared]:
        """Return the methods whose results both the losses and the parts are made of."""
        return [(self, "_predictions")]

    def _predicted(self, batch: Input) -> Iterator[Predicted]:
        texts, logits = self._predictions(batch)
        for row, tokens, n in zip(logits, texts.tokens, texts.mask.sum(1).tolist(), strict=True):
            yield predicted(row[:n], tokens[:n])

    def _predictions(self, batch: Input) -> tuple[Texts, Tensor]:
        """Return the targets of a batch, and the logits (N, T, vocabulary) of their tokens."""
        texts, source = self._texts(batch), _apart(batch)[1]
        labels = texts.tokens.where(texts.mask, IGNORED)
        reads = self._source(source, len(labels))
        with _exact_zeros() if self._empty is not None else nullcontext():
            logits = logits_of(
                self.module,
                reads.tokens,
                attention_mask=reads.mask.long(),
                decoder_input_ids=self._read(labels, texts.tokens),
            )
        return texts, logits

    def _read(self, labels: Tensor, tokens: Tensor) -> Tensor:
        """Return what the decoder reads of targets (N, T): all but the last, behind a start."""
        make = getattr(self.module, START, None)
        if make is not None:
            return make(labels=labels)
        return nn.functional.pad(tokens[:, :-1], (1, 0), value=self._start())

    def _start(self) -> int | None:
        return getattr(getattr(self.module, "config", None), "decoder_start_token_id", None)

    def _source(self, given: dict[str, Tensor], number: int) -> Texts:
        """Return the sources of a batch.

        Raises:
            ValueError: where they are not there, though a condition names them.
        """
        if given:
            named = {"input_ids": given.get(SOURCE), "attention_mask": given.get(SOURCE_MASK)}
            source = texts_of({k: x for k, x in named.items() if x is not None}, 1)
            refuse_beyond(self.module, source, self.shorten)
            return source
        if self._empty is None:
            raise ValueError(
                f"the batch has no {SOURCE}; objective.conditioned(batch) makes them of the column "
                f"{self.condition!r}, as a detector does of data that have it"
            )
        device = next(self.module.parameters()).device
        return texts_of(self._empty.to(device).expand(number, -1), 1)


def _exact_zeros() -> AbstractContextManager[None]:
    """Return a context in which attention to a single token has no gradient at all.

    An empty source may be one token. What then asks for it, and what it answers, changes nothing,
    and the gradients are zero but for rounding: in fused kernels they are not zero.
    """
    made: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH)
    return made


def _apart(batch: Input) -> tuple[Input, dict[str, Tensor]]:
    """Return the entries of the targets, and those of the sources."""
    if not isinstance(batch, Mapping):
        return batch, {}
    source = {key: batch[key] for key in (SOURCE, SOURCE_MASK) if key in batch}
    return {key: x for key, x in batch.items() if key not in source}, source
