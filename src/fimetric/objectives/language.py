"""Likelihoods of language models."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fimetric.data.batch import Input
from fimetric.data.spec import Spec
from fimetric.objectives.base import Objective
from fimetric.objectives.limits import refuse_beyond, refuse_foresight
from fimetric.objectives.logits import logits_of
from fimetric.objectives.takes import vocabulary_of
from fimetric.objectives.texts import refuse_unknown, texts_of

IGNORED = -100  # a target that costs nothing


class CausalLM(Objective):
    """Creates the negative log-likelihood of a causal language model: all tokens but the first.

    A text is its tokens in order, at the positions 0, 1, 2, ...: where padding stands, between
    tokens too, and what else is in the batch changes nothing. The model gets all padding behind
    the texts, where it cannot see it, and no mask.

    Arguments:
        language_model: as in transformers: token ids (N, T) -> object with ``logits``
            (N, T, vocabulary), or these alone or first in a tuple; those of a token depend on it
            and the tokens before it alone. A batch is a tensor of token ids (N, T), or a dict with
            ``input_ids`` and perhaps ``attention_mask``, 0 at padding.
    """

    kind = "likelihood"

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__(self._negative_log_likelihood, language_model)

    @property
    def spec(self) -> Spec:
        """Tokens of the model's vocabulary."""
        size = vocabulary_of(self.module)
        high = None if size is None else size - 1
        return Spec("tokens", (None,), 0, high, vocabulary=size)

    def losses(self, view: str, batch: Input) -> Tensor:
        """Return the negative log-likelihoods (N,) in nats, summed over the predicted tokens.

        Raises:
            TypeError: for token ids that are no tensor of whole numbers.
            ValueError: naming the row, for a text without a token to predict, with ids that the
                model does not know or with more tokens than it has positions; and for a batch
                with entries that are not of the text.
        """
        return super().losses(view, dict(batch) if isinstance(batch, Mapping) else batch)

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of predicted tokens of each text (N,), without padding."""
        return texts_of(batch).mask.sum(1).cpu() - 1

    def _negative_log_likelihood(self, batch: Input) -> Tensor:
        texts = texts_of(batch)
        refuse_beyond(self.module, texts)
        refuse_foresight(self.module, texts)
        logits = logits_of(self.module, texts.tokens)
        refuse_unknown(texts.tokens, logits.shape[-1])
        logits = logits if logits.dtype == torch.float64 else logits.float()
        targets = texts.tokens.where(texts.mask, IGNORED)
        return nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), targets[:, 1:], reduction="none", ignore_index=IGNORED
        ).sum(1)

    def _cast(self, batch: Input) -> Input:
        return batch  # neither ids nor masks have the number format of the model
