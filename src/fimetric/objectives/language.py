"""Likelihoods of causal language models."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from fimetric.arguments import whole
from fimetric.data.batch import Input
from fimetric.objectives.limits import refuse_foresight
from fimetric.objectives.logits import logits_of
from fimetric.objectives.one_pass import Shared
from fimetric.objectives.positions import Predicted, predicted
from fimetric.objectives.texts import Texts, refuse_unknown, texts_of
from fimetric.objectives.textual import IGNORED, Textual, costs


class CausalLM(Textual):
    """Creates the negative log-likelihood of a causal language model: all tokens but the first.

    A text is its tokens in order, at the positions 0, 1, 2, ...: where padding stands, between
    tokens too, and what else is in the batch changes nothing. The model gets all padding behind
    the texts, where it cannot see it, and no mask.

    Arguments:
        language_model: as in transformers: token ids (N, T) -> object with ``logits``
            (N, T, vocabulary), or these alone or first in a tuple; those of a token depend on it
            and the tokens before it alone. A batch is a tensor of token ids (N, T), or a dict with
            ``input_ids`` and perhaps ``attention_mask``, 0 at padding.
        tokenizer: of transformers; with it a batch, or the data of a detector, may be strings. The
            first token is given, so that the first word is predicted where the tokenizer puts a
            beginning-of-text token in front of it.
        window: cut texts to so many tokens. None refuses those too long for the model.

    Raises:
        TypeError: for a tokenizer of another library, or a window that is no whole number.
        ValueError: for a window of fewer than two tokens.
    """

    kind = "likelihood"
    least = 2
    shorten = "shorten the text, cut it (window={limit}), or give its parts as texts of their own"

    def __init__(
        self, language_model: nn.Module, tokenizer: Any = None, window: int | None = None
    ) -> None:
        super().__init__(self._negative_log_likelihood, language_model, tokenizer)
        self._window = None if window is None else whole("window", window, 2)

    @property
    def window(self) -> int | None:
        """How many tokens of a text count; None for all."""
        return self._window

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of predicted tokens of each text (N,), without padding."""
        return texts_of(batch).cut(self._window).mask.sum(1).cpu() - 1

    def settings(self) -> dict[str, Any]:
        """Return a hash of the tokenizer, and the window, where there are any."""
        window = {} if self._window is None else {"window": self._window}
        return {**self._told(), **window}

    def predictions(self, batch: Input) -> tuple[Texts, Tensor]:
        """Return the texts of a batch, and the logits (N, T, vocabulary) behind each token.

        Raises:
            TypeError, ValueError: see ``losses``.
        """
        texts = self._texts(batch)
        refuse_foresight(self.module, texts)
        logits = logits_of(self.module, texts.tokens)
        refuse_unknown(texts.tokens, logits.shape[-1])
        return texts, logits

    def shared(self) -> list[Shared]:
        """Return the methods whose results both the losses and the parts are made of."""
        return [(self, "predictions")]

    def _predicted(self, batch: Input) -> Iterator[Predicted]:
        texts, logits = self.predictions(batch)
        for row, tokens, n in zip(logits, texts.tokens, texts.mask.sum(1).tolist(), strict=True):
            yield predicted(row[: n - 1], tokens[1:n])

    def _negative_log_likelihood(self, batch: Input) -> Tensor:
        texts, logits = self.predictions(batch)
        targets = texts.tokens.where(texts.mask, IGNORED)
        return costs(logits[:, :-1], targets[:, 1:]).sum(1)
