"""Texts, a tiny language model in float64, and the losses of their tokens by a loop."""

import math

import torch

TEXTS = [
    "the cat sat on the mat",
    "a dog sat",
    "mat mat mat mat mat mat",  # a token again and again
    "cats and dogs ran to the mat",
    "a",  # one token to predict, behind <s>
]


def causal(double=True, **options):
    """Return a ``CausalLM`` of a tiny GPT-2 with the tests' tokenizer."""
    from fimetric.objectives import CausalLM
    from objectives.saved_text_models import build, tokenizer

    model = build("gpt2", "AutoModelForCausalLM")
    return CausalLM(model.double() if double else model, tokenizer(), **options)


def token_losses(objective, text):
    """Return what a text's tokens cost and the costs of all tokens in their places, by loops."""
    return losses_of(objective, objective.tokenizer(text)["input_ids"][: objective.window])


def losses_of(objective, ids):
    """Return the same of token ids."""
    losses, tables = [], []
    for t in range(1, len(ids)):
        with torch.no_grad():
            logits = objective.module(torch.tensor([ids[:t]])).logits[0, -1].tolist()
        total = math.log(sum(math.exp(value) for value in logits))
        tables.append([total - value for value in logits])
        losses.append(tables[-1][ids[t]])
    return losses, tables


def excesses(losses, tables):
    """Return the entropies in the places of tokens, and (loss - entropy) / deviation of each."""
    entropies, scaled = [], []
    for loss, costs in zip(losses, tables, strict=True):
        p = [math.exp(-cost) for cost in costs]
        entropy = sum(a * b for a, b in zip(p, costs, strict=True))
        square = sum(a * (b - entropy) ** 2 for a, b in zip(p, costs, strict=True))
        entropies.append(entropy)
        scaled.append((loss - entropy) / math.sqrt(square))
    return entropies, scaled


def worst(numbers):
    """Return the mean of the largest fifth, one at least."""
    count = max(1, math.floor(len(numbers) / 5))
    return sum(sorted(numbers)[-count:]) / count


def padded_otherwise(batch):
    """Return the texts of a batch with padding in front and behind, of a token that is a word."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    rows = [row[kept.bool()] for row, kept in zip(ids, mask, strict=True)]
    width = max(map(len, rows)) + 5
    tokens, marks = torch.full((len(rows), width), 9), torch.zeros(len(rows), width, dtype=int)
    for row, text in enumerate(rows):
        start = min(row, width - len(text))
        tokens[row, start : start + len(text)] = text
        marks[row, start : start + len(text)] = 1
    return {"input_ids": tokens, "attention_mask": marks}


def refuses_to_depend_on_a_batch(statistic, x):
    """Check that neither padding nor the rest of a batch changes a number, and return them."""
    with torch.no_grad():
        found = statistic.measure(x)
        torch.testing.assert_close(statistic.measure(padded_otherwise(x)), found)
        for row in range(len(found)):
            alone = {key: value[row : row + 1] for key, value in x.items()}
            torch.testing.assert_close(statistic.measure(alone)[0], found[row])
    assert found.dtype == torch.float64
    assert found.shape == (len(x["input_ids"]), len(statistic.names))
    return found
