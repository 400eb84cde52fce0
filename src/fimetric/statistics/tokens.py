"""What a language model says of the tokens of a text, one by one."""

import torch
from torch import Tensor

from fimetric.data.batch import Input
from fimetric.objectives.base import Objective
from fimetric.objectives.positions import PERCENT, QUANTILES
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import require_causal


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
        parts = self.objective.parts(x)
        worst = parts["worst-fifth"], parts["worst-fifth-standardised"]
        means = parts["nll"], parts["nll"].exp(), parts["entropy"], parts["nll-entropy"]
        quantiles = [parts[f"quantile-{percent}%"] for percent in QUANTILES]
        return torch.stack([*means, *worst, *quantiles], 1)
