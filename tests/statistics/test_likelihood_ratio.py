"""The ratio is the difference of two losses, whichever tokenizers the models have."""

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.detectors import Column
from fimetric.objectives import CausalLM
from fimetric.statistics import LikelihoodRatio

pytest.importorskip("transformers")
from known_texts import TEXTS, causal, refuses_to_depend_on_a_batch, token_losses

from objectives.saved_text_models import build, tokenizer


@pytest.fixture(scope="module")
def objective():
    return causal()


def other(words="causal", **options):
    model = build("llama", "AutoModelForCausalLM").double()
    return CausalLM(model, tokenizer(words), **options)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("words", ["causal", "masked"])
def test_the_ratio_is_the_difference_of_two_losses_per_token(words, window):
    objective, background = causal(window=window), other(words)
    statistic = LikelihoodRatio(objective, background)
    found = refuses_to_depend_on_a_batch(statistic, objective.prepare(TEXTS))
    for (ratio,), text in zip(found.tolist(), TEXTS, strict=True):
        losses, _ = token_losses(objective, text)
        read = objective.tokenizer(text)["input_ids"][1:window]
        theirs, _ = token_losses(background, objective.tokenizer.decode(read))
        assert ratio == pytest.approx((sum(losses) - sum(theirs)) / len(losses), rel=1e-9)


def test_a_model_against_itself_and_the_only_column_as_the_score(objective):
    table = LikelihoodRatio(objective, causal()).features(TEXTS, progress=False)
    np.testing.assert_allclose(table.values, 0, atol=1e-12)
    assert table.names == ("ratio",)
    table = LikelihoodRatio(objective, other()).features(TEXTS, batch_size=2, progress=False)
    np.testing.assert_array_equal(Column().fit(table).score(table), table.values[:, 0])


def test_token_ids_without_tokenizers():
    models = [build(kind, "AutoModelForCausalLM").double() for kind in ("gpt2", "llama")]
    one, background = map(CausalLM, models)
    x = torch.tensor([[5, 8, 9, 9], [5, 30, 31, 40]])
    found = LikelihoodRatio(one, background).measure(x)[:, 0]
    torch.testing.assert_close(found, (one(x) - background(x)) / 3)


def test_the_background_changes_the_fingerprint_and_the_description(objective):
    def table(background):
        return LikelihoodRatio(objective, background).features(TEXTS[:2], progress=False)

    first, again, moved = table(other()), table(other()), other()
    assert (first.fingerprint, first.objective) == (again.fingerprint, again.objective)
    with torch.no_grad():
        next(moved.module.parameters())[3, 3] += 1e-2
    assert table(moved).fingerprint != first.fingerprint
    assert table(other("masked")).objective != first.objective


def test_what_cannot_be_compared_is_refused(objective):
    with pytest.raises(TypeError, match=r"LikelihoodRatio needs a CausalLM, .* not Linear"):
        LikelihoodRatio(objective, nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"different tokenizers needs .* CausalLM\(model, tok"):
        LikelihoodRatio(objective, CausalLM(objective.module))
    with pytest.raises(ValueError, match="cuts texts to 9 tokens"):
        LikelihoodRatio(objective, other(window=9))
