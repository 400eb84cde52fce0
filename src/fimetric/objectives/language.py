"""Likelihoods of language models."""

import torch
from torch import Tensor, nn

from fimetric.data.spec import Spec
from fimetric.objectives.base import Batch, Objective, values_of
from fimetric.objectives.takes import vocabulary_of


class CausalLM(Objective):
    """Creates the negative log-likelihood of a causal language model: all tokens but the first.

    Arguments:
        language_model: as in transformers: (input_ids, attention_mask) -> object with ``logits``
            (N, T, vocabulary). A batch is a tensor of token ids (N, T), or a dict with
            ``input_ids`` and perhaps ``attention_mask``, 0 at padding.
    """

    kind = "likelihood"

    def __init__(self, language_model: nn.Module) -> None:
        super().__init__(self._negative_log_likelihood, language_model)

    def _negative_log_likelihood(self, batch: Batch) -> Tensor:
        given = batch if isinstance(batch, dict) else {"input_ids": batch}
        if "input_ids" not in given:
            raise ValueError(f"the batch has no input_ids, only {', '.join(given)}")
        tokens = given["input_ids"]
        logits = self.module(**given, use_cache=False).logits[:, :-1]
        losses = nn.functional.cross_entropy(
            logits.transpose(1, 2).float() if logits.dtype != torch.float64 else logits.mT,
            tokens[:, 1:],
            reduction="none",
        )
        if "attention_mask" in given:  # a token after padding is predicted from nothing
            mask = given["attention_mask"]
            losses = losses * mask[:, 1:] * mask[:, :-1]
        return losses.sum(1)

    @property
    def spec(self) -> Spec:
        """Tokens of the model's vocabulary."""
        size = vocabulary_of(self.module)
        high = None if size is None else size - 1
        return Spec("tokens", (None,), 0, high, vocabulary=size)

    def data_dimension(self, batch: Batch) -> int:
        """Return the number of predicted tokens."""
        return max(1, values_of(batch)[0].shape[1] - 1)
