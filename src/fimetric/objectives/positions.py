r"""What the positions of a sample cost: tokens of a text, values of a picture or of a clip.

Of costs :math:`\ell_t = -\log p(x_t | \ldots)` at T positions, the parts are

- ``worst-fifth``: the mean of the T/5 largest (rounded down, one at least): Min-K% is its negative;
- ``quantile-10%``, ``-50%``, ``-90%`` and ``-100%``.

Of predictions over a vocabulary, with :math:`H_t` and :math:`\sigma_t` the mean and the deviation
of :math:`-\log p(v | \ldots)`, :math:`v \sim p`, there are besides

- ``nll``: the mean cost, in nats per position;
- ``entropy``: the mean of :math:`H_t`;
- ``nll-entropy``: the mean of :math:`\ell_t - H_t`, which is 0 on average of the model's own;
- ``worst-fifth-standardised``: the mean of the T/5 largest :math:`(\ell_t - H_t) / \sigma_t`, 0 at
  a position where all are equally likely: Min-K%++ is its negative.

Detecting Pretraining Data from Large Language Models (Shi et al., 2023), arXiv:2310.16789, and
Min-K%++ (Zhang et al., 2024), arXiv:2404.02936, have the worst fifths.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

PERCENT = 20  # of the positions, the least likely ones: K of both papers
QUANTILES = (10, 50, 90, 100)  # percent of the positions
AT_ONCE = 2**17  # logits: what is made of them stays in the cache
NO_SPREAD = 1e-6  # nats; below, the logits are alike but for rounding


class Predicted(NamedTuple):
    """What a model says of the T positions of a sample, each (T,), in nats."""

    loss: Tensor
    entropy: Tensor
    """The mean of the loss, were the position drawn from the model."""
    deviation: Tensor
    """Its deviation."""


def predicted(logits: Tensor, targets: Tensor) -> Predicted:
    """Return what logits (T, vocabulary) say of targets (T,), in float64."""
    rows = max(1, AT_ONCE // logits.shape[1])
    each = [_predicted(*part) for part in zip(logits.split(rows), targets.split(rows), strict=True)]
    return Predicted(*map(torch.cat, zip(*each, strict=True)))


def _predicted(logits: Tensor, targets: Tensor) -> Predicted:
    log_p = logits.double().log_softmax(1)
    loss = -log_p.gather(1, targets[:, None])[:, 0]
    p = log_p.exp()
    costs = log_p.neg_().masked_fill_(p == 0, 0)  # what cannot come adds nothing: not 0 times inf
    entropy = torch.linalg.vecdot(p, costs)
    variance = torch.linalg.vecdot(p, costs.sub_(entropy[:, None]).square_())
    return Predicted(loss, entropy, variance.sqrt())


def cost_parts(loss: Tensor) -> dict[str, Tensor]:
    """Return the parts of one sample, scalars, that its costs (T,) alone tell."""
    levels = loss.new_tensor(QUANTILES) / 100
    quantiles = dict(zip(QUANTILES, loss.quantile(levels), strict=True))
    return {
        "worst-fifth": _worst(loss),
        **{f"quantile-{percent}%": found for percent, found in quantiles.items()},
    }


def prediction_parts(told: Predicted) -> dict[str, Tensor]:
    """Return the parts of one sample, scalars, of predictions over a vocabulary."""
    excess = told.loss - told.entropy
    return {
        "nll": told.loss.mean(),
        "entropy": told.entropy.mean(),
        "nll-entropy": excess.mean(),
        "worst-fifth-standardised": _worst(excess / told.deviation.clamp_min(NO_SPREAD)),
        **cost_parts(told.loss),
    }


def stacked(samples: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the parts (N,) of samples whose own are scalars; none of no samples."""
    rows = list(samples)
    return {name: torch.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _worst(numbers: Tensor) -> Tensor:
    """Return the mean of the largest of the numbers (T,)."""
    return numbers.topk(max(1, len(numbers) * PERCENT // 100)).values.mean()
