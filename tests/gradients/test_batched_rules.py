"""Every rule for operations on parameters alone, against the loop."""

import pytest
import torch
from torch import nn

from fimetric.gradients import GradientNorms
from fimetric.gradients.reference import squared_gradient_norms
from fimetric.gradients.rules.batched import BATCHED
from fimetric.gradients.subgraphs import Subgraphs

N = 4  # as large as the parameters' sides
CASES = {
    "AddBackward0": lambda p, v, s: torch.add(v.exp(), p, alpha=2).tanh(),
    "DiagEmbedBackward0": lambda p, v, s: torch.diag(v.exp()) + p.exp().diag_embed(1, 0, 2).sum(),
    "DivBackward0": lambda p, v, s: p / (v.exp() + 2),
    "ExpBackward0": lambda p, v, s: (3 * p).exp(),
    "ExpandBackward0": lambda p, v, s: v.exp().expand(4, 4),
    "LogBackward0": lambda p, v, s: (p.exp() + 1).log(),
    "MmBackward0": lambda p, v, s: p.tanh() @ (p * 2),
    "MulBackward0": lambda p, v, s: p * v * s * p,
    "NegBackward0": lambda p, v, s: -(p.exp()),
    "SigmoidBackward0": lambda p, v, s: p.sigmoid().sigmoid(),
    "SubBackward0": lambda p, v, s: torch.sub(v.exp(), p, alpha=3).tanh(),
    "SumBackward0": lambda p, v, s: p.exp().sum() * torch.ones(4, 4, dtype=p.dtype) * p.sum(),
    "TBackward0": lambda p, v, s: p.exp().t() + v.exp().t(),
    "TanhBackward0": lambda p, v, s: p.tanh().tanh(),
    "TransposeBackward0": lambda p, v, s: p.exp().transpose(-1, 0).tanh() + p.exp().mT,
    "TrilBackward0": lambda p, v, s: p.exp().tril(-1) + p.tril(1),
    "TriuBackward0": lambda p, v, s: p.exp().triu(1) + p.triu(-2),
    "UnsqueezeBackward0": lambda p, v, s: v.exp().unsqueeze(-1) + v.unsqueeze(0).exp(),
    "ViewBackward0": lambda p, v, s: p.exp().view(2, 8).tanh().view(4, 4),
}


def test_every_rule_has_a_case():
    assert CASES.keys() == BATCHED.keys()


@pytest.mark.parametrize("name", CASES)
def test_equals_the_loop(name, monkeypatch):
    torch.manual_seed(0)
    named = [
        (key, nn.Parameter(torch.randn(shape, dtype=torch.float64)))
        for key, shape in (("p", (4, 4)), ("v", (4,)), ("s", ()))
    ]
    made = CASES[name](*(p for _, p in named))

    def losses(x):
        return (CASES[name](*(p for _, p in named)) * x).sum((1, 2)).square()

    def names(node):
        below = [child for child, _ in node.next_functions if child is not None]
        return {node.name(), *(found for child in below for found in names(child))}

    assert name in names(made.grad_fn)
    for slower in ("_batched", "_by_sample"):
        monkeypatch.setattr(
            Subgraphs, slower, lambda s, c, *given: [] if not c else pytest.fail("slow")
        )
    x = torch.randn(N, 4, 4, dtype=torch.float64)
    norms = GradientNorms(named)
    for batch in (x, x.flip(0)):
        expected = squared_gradient_norms(losses, batch.split(1), [p for _, p in named])
        torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-10, atol=0)
