"""Hidden states are what the map to the vocabulary gets, and their densities those of scipy."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.covariance import ledoit_wolf
from torch import nn

from fimetric.detectors import FullGaussian, RelativeMahalanobis
from fimetric.objectives import CausalLM
from fimetric.statistics import HiddenStates, shuffled

pytest.importorskip("transformers")
from known_texts import TEXTS, causal, refuses_to_depend_on_a_batch

from objectives.saved_text_models import CAUSAL, build, tokenizer

OWN = [f"{text} {i}" for i in range(12) for text in TEXTS[:4]]


@pytest.fixture(scope="module")
def objective():
    return causal()


def by_hand(objective, texts):
    """Return the mean last hidden states, text by text, by the option of transformers."""
    rows = []
    for text in texts:
        ids = torch.tensor([objective.tokenizer(text)["input_ids"][: objective.window]])
        with torch.no_grad():
            out = objective.module(ids, output_hidden_states=True)
        rows.append(sum(out.hidden_states[-1][0]) / ids.shape[1])
    return torch.stack(rows)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("kind", sorted(CAUSAL))
def test_columns_are_the_mean_last_hidden_states(kind, window):
    model = build(kind, "AutoModelForCausalLM").double()
    objective = CausalLM(model, tokenizer(), window)
    statistic = HiddenStates(objective)
    found = refuses_to_depend_on_a_batch(statistic, objective.prepare(TEXTS))
    assert statistic.names[::15] == ["hidden[0]", "hidden[15]"]
    torch.testing.assert_close(found, by_hand(objective, TEXTS))
    assert not model.get_output_embeddings()._forward_pre_hooks


def gaussian(rows, at):
    """Return minus the log density, by scipy, of a Gaussian with a shrunk correlation matrix."""
    mean, deviation = rows.mean(0), rows.std(0)
    correlation = ledoit_wolf((rows - mean) / deviation)[0]
    return -multivariate_normal(mean, correlation * np.outer(deviation, deviation)).logpdf(at)


def test_the_background_column_is_minus_a_log_density(objective):
    background = shuffled(objective, OWN)
    statistic = HiddenStates(objective, background, progress=False)
    table = statistic.features(OWN, batch_size=7, progress=False)
    assert table.names[-1] == "background"
    hidden = by_hand(objective, OWN).numpy()
    np.testing.assert_allclose(table.values[:, :-1], hidden, rtol=1e-9)
    with torch.no_grad():
        rows = HiddenStates(objective).measure(background).numpy()
    np.testing.assert_allclose(table.values[:, -1], gaussian(rows, hidden), rtol=1e-8)
    refuses_to_depend_on_a_batch(statistic, objective.prepare(TEXTS))


def test_the_relative_distance_is_the_difference_of_both(objective):
    statistic = HiddenStates(objective, shuffled(objective, OWN), progress=False)
    own, new = (statistic.features(texts, progress=False) for texts in (OWN, TEXTS))
    plain = FullGaussian().fit(own.columns(own.names[:-1])).score(new)
    np.testing.assert_allclose(plain, gaussian(own.values[:, :-1], new.values[:, :-1]), rtol=1e-8)
    relative = RelativeMahalanobis().fit(own).score(new)
    np.testing.assert_allclose(relative, plain - new.values[:, -1], rtol=1e-12)


def test_the_background_is_told_and_its_batches_are_not(objective):
    def described(texts, **options):
        return HiddenStates(objective, texts, progress=False, **options).describe()

    assert described(OWN) == described(OWN, batch_size=5)
    assert described(OWN) != described(OWN[1:])
    assert "background" not in HiddenStates(objective).describe()
    with pytest.raises(ValueError, match="1 rows; pass at least two"):
        HiddenStates(objective, OWN[:1], progress=False)


def test_shuffled_texts_have_the_same_tokens_in_another_order(objective):
    found = shuffled(objective, OWN, batch_size=5)
    again, other = shuffled(objective, OWN), shuffled(objective, OWN, seed=1)
    moved = 0
    for row, mask, text in zip(*found.values(), OWN, strict=True):
        ids = objective.tokenizer(text)["input_ids"]
        read = row[: mask.sum()].tolist()
        assert read[0] == ids[0] and sorted(read) == sorted(ids)
        assert mask.tolist() == [1] * len(ids) + [0] * (len(mask) - len(ids))
        moved += read != ids
    assert moved > len(OWN) / 2
    assert torch.equal(found["input_ids"], again["input_ids"])
    assert not torch.equal(found["input_ids"], other["input_ids"])
    cut = shuffled(causal(window=4), OWN)
    assert cut["input_ids"].shape == (len(OWN), 4)


class Bigrams(nn.Module):
    """Has no hidden states, or hides them."""

    def __init__(self, told=False):
        super().__init__()
        self.table, self.told = nn.Embedding(11, 11), told

    def get_output_embeddings(self):
        return nn.Linear(11, 11) if self.told else None

    def forward(self, tokens):
        return self.table(tokens)


def test_models_that_do_not_show_them_are_refused():
    with pytest.raises(TypeError, match=r"Bigrams does not show it: let get_output_embeddings"):
        HiddenStates(CausalLM(Bigrams()))
    with pytest.raises(TypeError, match="Bigrams does not show it"):
        HiddenStates(CausalLM(Bigrams(told=True))).measure(torch.tensor([[1, 2, 3]]))
    with pytest.raises(TypeError, match="HiddenStates needs a CausalLM"):
        HiddenStates(nn.Linear(1, 1))
