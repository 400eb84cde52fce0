"""What a language model says of the tokens of a text, one by one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives.base import Objective
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import predictions_of, require_causal

PERCENT = 20  # of the tokens, the least likely ones: K of both papers
QUANTILES = (10, 50, 90, 100)  # percent of the tokens
NO_SPREAD = 1e-6  # nats; below, the logits are alike but for rounding


class TokenStatistics(Statistic):
    r"""Creates numbers of the losses :math:`\ell_t = -\log p(x_t | x_{<t})` of a text's tokens.

    With T predicted tokens, :math:`H_t` and :math:`\sigma_t` the mean and the deviation of
    :math:`-\log p(v | x_{<t})` over the vocabulary, :math:`v \sim p`, the columns are

    - ``nll``: the mean loss, in nats per token, which is the logarithm of the perplexity;
    - ``perplexity``: its exponential;
    - ``entropy``: the mean of :math:`H_t`;
    - ``nll-entropy``: the mean of :math:`\ell_t - H_t`, which is 0 on average of the model's texts;
    - ``min-20%``: the mean of the T/5 largest losses (rounded down, one at least): Min-K%;
    - ``min-20%++``: that of the T/5 largest :math:`(\ell_t - H_t) / \sigma_t`: Min-K%++, 0 for a
      token where all are equally likely;
    - ``quantile-10%``, ``-50%``, ``-90%`` and ``-100%`` of the losses.

    The papers take the negatives, for they look for texts that a model was trained on. Here large
    is unlikely in all columns but ``entropy``: ``Column("min-20%")`` is such a score.

    Arguments:
        objective: a ``CausalLM``.

    Raises:
        TypeError: for another objective.

    References:
        Detecting Pretraining Data from Large Language Models (Shi, Ajith, Xia, Huang, Liu, Blevins,
        Chen and Zettlemoyer, 2023), arXiv:2310.16789
        Min-K%++: Improved Baseline for Detecting Pre-Training Data from Large Language Models
        (Zhang, Sun, Yeats, Ouyang, Kuo, Zhang, Yang and Li, 2024), arXiv:2404.02936
    """

    name = "tokens"

    def __init__(self, objective: Objective) -> None:
        require_causal(objective, "TokenStatistics")
        super().__init__(objective)

    @property
    def names(self) -> list[str]:
        """Names of the columns, see above."""
        worst = f"min-{PERCENT}%"
        quantiles = [f"quantile-{percent}%" for percent in QUANTILES]
        return ["nll", "perplexity", "entropy", "nll-entropy", worst, f"{worst}++", *quantiles]

    def measure(self, x: Input) -> Tensor:
        """Return the numbers (N, K) of texts (N, T), in float64."""
        objective: Any = self.objective
        texts, logits = predictions_of(objective, x)
        lengths = texts.mask.sum(1).tolist()
        # one by one: padding plays no part, and a vocabulary in float64 takes memory
        return torch.stack(
            [
                _numbers(_predicted(row[: n - 1], tokens[1:n]))
                for row, tokens, n in zip(logits, texts.tokens, lengths, strict=True)
            ]
        )


class Predicted(NamedTuple):
    """What a model says of the T predicted tokens of a text, each (T,), in nats."""

    loss: Tensor
    entropy: Tensor
    """The mean of the loss, were the token drawn from the model."""
    deviation: Tensor
    """Its deviation."""


def _predicted(logits: Tensor, tokens: Tensor) -> Predicted:
    """Return what logits (T, vocabulary) say of tokens (T,), in float64."""
    log_p = logits.double().log_softmax(1)
    p = log_p.exp()
    costs = -log_p.where(p > 0, 0)  # what cannot come adds nothing: not 0 times infinity
    entropy = (p * costs).sum(1)
    variance = (p * (costs - entropy[:, None]).square()).sum(1)
    return Predicted(-log_p.gather(1, tokens[:, None])[:, 0], entropy, variance.sqrt())


def _numbers(told: Predicted) -> Tensor:
    """Return the columns (K,) of one text."""
    loss, excess = told.loss, told.loss - told.entropy
    standardised = excess / told.deviation.clamp_min(NO_SPREAD)
    levels = loss.new_tensor(QUANTILES) / 100
    means = [loss.mean(), loss.mean().exp(), told.entropy.mean(), excess.mean()]
    worst = [_worst(loss), _worst(standardised)]
    return torch.cat([torch.stack(means + worst), loss.quantile(levels)])


def _worst(numbers: Tensor) -> Tensor:
    """Return the mean of the largest of the numbers (T,)."""
    return numbers.topk(max(1, len(numbers) * PERCENT // 100)).values.mean()
