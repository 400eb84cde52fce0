"""Numbers of the tokens' losses are those of a loop over prefixes and the vocabulary."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.detectors import Column
from fimetric.objectives import CausalLM, Objective
from fimetric.statistics import TokenStatistics

pytest.importorskip("transformers")


from known_texts import (
    TEXTS,
    causal,
    excesses,
    losses_of,
    refuses_to_depend_on_a_batch,
    token_losses,
    worst,
)


@pytest.fixture(scope="module")
def objective():
    return causal()


def column(statistic, found, name):
    return found[:, statistic.names.index(name)].tolist()


def by_hand(losses, tables):
    """Return the columns by the sums of their definitions."""
    T = len(losses)
    entropies, scaled = excesses(losses, tables)
    return {
        "nll": sum(losses) / T,
        "perplexity": math.prod(math.exp(loss) for loss in losses) ** (1 / T),
        "entropy": sum(entropies) / T,
        "nll-entropy": (sum(losses) - sum(entropies)) / T,
        "min-20%": worst(losses),
        "min-20%++": worst(scaled),
        **{f"quantile-{q}%": np.percentile(losses, q) for q in (10, 50, 90, 100)},
    }


@pytest.mark.parametrize("window", [None, 5])
def test_columns_are_those_of_loops(window):
    objective = causal(window=window)
    statistic = TokenStatistics(objective)
    found = refuses_to_depend_on_a_batch(statistic, objective.prepare(TEXTS))
    for row, text in zip(found, TEXTS, strict=True):
        expected = by_hand(*token_losses(objective, text))
        assert list(expected) == statistic.names
        np.testing.assert_allclose(row, list(expected.values()), rtol=1e-9)


def test_a_fifth_is_rounded_down_and_one_at_least(objective):
    statistic = TokenStatistics(objective)
    for T, count in ((1, 1), (4, 1), (5, 1), (9, 1), (10, 2), (14, 2), (15, 3)):
        ids = torch.randint(10, 200, (1, T + 1))
        losses, _ = losses_of(objective, ids[0].tolist())
        found = column(statistic, statistic.measure(ids), "min-20%")
        assert found[0] == pytest.approx(sum(sorted(losses)[-count:]) / count, rel=1e-9)


def test_the_table_has_them_with_the_losses_and_lengths(objective):
    statistic = TokenStatistics(objective)
    table = statistic.features(TEXTS, batch_size=2, progress=False)
    assert table.dimensions.tolist() == [len(token_losses(objective, t)[0]) for t in TEXTS]
    nll = table.values[:, table.names.index("nll")]
    np.testing.assert_allclose(nll, table.losses[:, 0] / table.dimensions, rtol=1e-9)
    scores = Column("min-20%").fit(table).score(table)
    np.testing.assert_array_equal(scores, table.values[:, table.names.index("min-20%")])


class Fixed(nn.Module):
    """The same logits for every next token."""

    def __init__(self, logits):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, tokens):
        return self.logits.expand(*tokens.shape, -1)


def test_where_all_tokens_are_equally_likely_nothing_is_surprising():
    statistic = TokenStatistics(CausalLM(Fixed([0.3] * 7)))
    (row,) = statistic.measure(torch.tensor([[0, 1, 2, 2, 2, 6]])).detach()
    found = dict(zip(statistic.names, row.tolist(), strict=True))
    assert found["perplexity"] == pytest.approx(7)
    for name in ("nll", "entropy", "min-20%", "quantile-10%", "quantile-100%"):
        assert found[name] == pytest.approx(math.log(7))
    assert found["min-20%++"] == pytest.approx(0, abs=1e-6)


def test_tokens_that_cannot_come_add_nothing_to_the_entropy():
    statistic = TokenStatistics(CausalLM(Fixed([0.0, 0.0, -math.inf])))
    row = statistic.measure(torch.tensor([[2, 0, 1]])).detach()
    assert column(statistic, row, "entropy") == pytest.approx([math.log(2)])
    assert column(statistic, row, "min-20%++") == pytest.approx([0], abs=1e-6)


def test_models_of_half_precision_are_measured_in_float64():
    statistic = TokenStatistics(CausalLM(Fixed([1.0, 2.0, 4.0]).bfloat16()))
    row = statistic.measure(torch.tensor([[0, 2, 2, 2]])).detach()
    loss = math.log(math.exp(-3) + math.exp(-2) + 1)
    assert column(statistic, row, "nll") == pytest.approx([loss], rel=1e-12)


def test_what_is_no_text_is_refused(objective):
    with pytest.raises(TypeError, match=r"TokenStatistics needs a CausalLM.*not Objective"):
        TokenStatistics(Objective(lambda x: x.sum(1), nn.Linear(1, 1)))
    statistic = TokenStatistics(CausalLM(objective.module))
    for empty in (torch.zeros(2, 0, dtype=int), torch.zeros(2, 1, dtype=int)):
        with pytest.raises(ValueError, match="fewer than two tokens"):
            statistic.measure(empty)
    with pytest.raises(ValueError, match="is an empty text; leave it out"):
        TokenStatistics(objective).features(["a dog sat", ""], progress=False)
