"""What the likelihoods of language models have in common: they take strings, or token ids."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fimetric.data.batch import Input
from fimetric.data.codes import text_code
from fimetric.data.keys import MASK, TOKENS
from fimetric.data.rows import RowError
from fimetric.data.spec import Spec
from fimetric.objectives.base import Losses, Objective
from fimetric.objectives.limits import longest_text, refuse_beyond
from fimetric.objectives.positions import Predicted, prediction_parts, stacked
from fimetric.objectives.takes import vocabulary_of
from fimetric.objectives.texts import Texts, refuse_short, texts_of
from fimetric.objectives.tokenizer import Tokenizer, padded, quoted

IGNORED = -100  # a target that costs nothing


class Textual(Objective):
    """Creates an objective of texts.

    Arguments:
        function: batch -> losses (N,).
        model: as in transformers.
        tokenizer: of transformers, which makes token ids of strings. None: batches hold token ids.
        seed: of the noise, for the objectives that use any.
    """

    least: ClassVar[int] = 1
    """Tokens of a text, which a batch must have."""
    shorten: ClassVar[str] = "shorten the text"
    """What to do about a text that is too long for the model, which has {limit} positions."""
    target: ClassVar[bool] = False
    """Whether the texts are what the model writes, given others that it reads."""
    _window: int | None = None

    def __init__(self, function: Losses, model: nn.Module, tokenizer: Any, seed: int = 0) -> None:
        super().__init__(function, model, seed)
        # Told by ``settings``: neither hashed anew in each batch, nor told where there is none.
        self._tokenizer = None if tokenizer is None else Tokenizer(tokenizer)

    @property
    def tokenizer(self) -> Any:
        """The copy of the tokenizer that makes tokens of strings; None without one."""
        return None if self._tokenizer is None else self._tokenizer.theirs

    @property
    def spec(self) -> Spec:
        """Tokens of the model's vocabulary."""
        size = vocabulary_of(self.module)
        high = None if size is None else size - 1
        return Spec("tokens", (None,), 0, high, vocabulary=size)

    def prepare(self, samples: Sequence[Any]) -> Input:
        """Return texts as token ids and attention mask (N, T), padded on the right.

        The tokenizer decides about beginning-of-text tokens and the like. What is no string is
        taken as the base class does.

        Raises:
            TypeError: for strings without a tokenizer.
            ValueError: naming the row, for a text of too few tokens, or of more than the model has
                positions.
        """
        texts = list(samples)
        if not texts or not all(isinstance(text, str) for text in texts):
            return super().prepare(texts)
        if self._tokenizer is None:
            raise TypeError(
                f"these are strings, and {type(self).__name__} has no tokenizer: pass the model's "
                f"own, {type(self).__name__}(model, tokenizer=...), or tokenise first: "
                'tokenizer(texts, padding=True, return_tensors="pt")'
            )
        ids = [row[: self._window] for row in self._tokenizer(texts, self.target)]
        refuse_short(list(map(len, ids)), self.least)
        self._refuse_long(texts, ids)
        tokens, mask = padded(ids)
        return {TOKENS: tokens, MASK: mask.long()}

    def _refuse_long(self, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> None:
        """Refuse texts of more tokens than the model was made for.

        Raises:
            RowError: naming the row, and what to do.
        """
        limit = longest_text(self.module)
        for row, (text, tokens) in enumerate(zip(texts, ids, strict=True)):
            if limit is not None and len(tokens) > limit:
                raise RowError(
                    [row],
                    f", {quoted(text)}, has {len(tokens)} tokens, the model has positions for "
                    f"{limit}; {self.shorten.format(limit=limit)}",
                )

    def losses(self, view: str, batch: Input) -> Tensor:
        """Return the losses (N,) in nats, summed over the predicted tokens.

        Raises:
            TypeError: for token ids that are no tensor of whole numbers.
            ValueError: naming the row, for a text without a token to predict, with ids that the
                model does not know or with more tokens than it has positions; and for a batch
                with entries that are not of the text.
        """
        return super().losses(view, dict(batch) if isinstance(batch, Mapping) else batch)

    def parts(self, batch: Input, costly: bool = False) -> dict[str, Tensor]:
        """Return numbers of the predicted tokens of each text, (N,), in float64.

        They are those of ``fimetric.objectives.positions``: means, the worst fifth, quantiles; and
        ``code/zlib``, what zlib needs for what the tokens spell, in nats per predicted token.
        """
        return super().parts(dict(batch) if isinstance(batch, Mapping) else batch, costly)

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        return stacked(map(prediction_parts, self._predicted(batch)))

    def strings(self, batch: Input) -> list[str]:
        """Return what the tokens of each text spell, as far as the loss reads it.

        Special tokens are left out. A text comes back as it was given, but for what its tokenizer
        itself does not keep, such as capitals.

        Raises:
            TypeError: without a tokenizer.
        """
        if self._tokenizer is None:
            raise TypeError(
                f"token ids alone do not tell the texts: {type(self).__name__}(model, "
                "tokenizer=...) does"
            )
        texts = self._read_texts(batch)
        return self._tokenizer.spelled(
            [row[kept].tolist() for row, kept in zip(texts.tokens, texts.mask, strict=True)]
        )

    def _codes(self, batch: Input) -> dict[str, Tensor]:
        return {} if self._tokenizer is None else {"zlib": text_code(self.strings(batch))}

    def _predicted(self, batch: Input) -> Iterator[Predicted]:
        """Yield what the model says of the predicted tokens of each text, without padding.

        It is made text by text: padding plays no part, and a vocabulary in float64 takes memory.
        """
        yield from ()

    def _texts(self, batch: Input) -> Texts:
        """Return the texts of a batch, refused where the model cannot take them."""
        texts = self._read_texts(batch)
        refuse_beyond(self.module, texts, self.shorten)
        return texts

    def _read_texts(self, batch: Input) -> Texts:
        """Return the texts of a batch as far as the loss reads them."""
        return texts_of(batch, self.least).cut(self._window)

    def _told(self) -> dict[str, Any]:
        """Return what tells the tokenizer, for ``settings``; nothing without one."""
        return {} if self._tokenizer is None else {"tokenizer": self._tokenizer.digest}

    def _cast(self, batch: Input) -> Input:
        return batch  # neither ids nor masks have the number format of the model


def costs(logits: Tensor, targets: Tensor) -> Tensor:
    """Return -log p of tokens (N, ...) by logits (N, ..., vocabulary), in float32 at least.

    Those that are ``IGNORED`` cost nothing.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    rows = logits.flatten(0, -2)  # a vocabulary that lies apart in memory takes seven times as long
    each = nn.functional.cross_entropy(
        rows, targets.flatten(), reduction="none", ignore_index=IGNORED
    )
    return each.unflatten(0, targets.shape)
