"""Outliers made of texts: token ids of the same number as the original has."""

from collections.abc import Callable
from random import Random
from typing import Any

import torch
from torch import Generator, Tensor

from fimetric.benchmark.variants import others
from fimetric.objectives import CausalLM

FIRST = 8  # tokens that are kept, or repeated
Made = Callable[[CausalLM, Tensor, Generator], Tensor]  # ids (N, T) -> ids (N, T)


def ids_of(objective: CausalLM, texts: list[str]) -> Tensor:
    """Return the token ids (N, T) of texts that all have T tokens."""
    found: Any = objective.prepare(texts)
    return found["input_ids"]


def replaced(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Replace a fifth of the tokens by tokens of all texts."""
    drawn = x.flatten()[torch.randint(x.numel(), x.shape, generator=generator)]
    kept = torch.rand(x.shape, generator=generator) >= 0.2
    return _begun(x, torch.where(kept, x, drawn))


def spliced(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Put the second half of another text behind the first half."""
    half = x.shape[1] // 2
    return torch.cat([x[:, :half], others(x, generator)[:, half:]], 1)


def reversed_(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Put the tokens in reverse."""
    return torch.cat([x[:, :1], x[:, 1:].flip(1)], 1)


def letters(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Shuffle the letters inside each word, and take the first T tokens of what comes out."""
    tokenizer: Any = objective.tokenizer
    rows = []
    for i, row in enumerate(x):
        random = Random(i)
        words = tokenizer.decode(row, skip_special_tokens=True).split(" ")
        text = " ".join("".join(random.sample(word, len(word))) for word in words)
        rows.append(_cut(objective, text, x.shape[1]))
    return torch.stack(rows)


def tiled(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Repeat the first tokens."""
    return _repeated(x, FIRST)


def twice(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Put the first half once more in place of the second."""
    return _repeated(x, x.shape[1] // 2)


@torch.no_grad()
def greedy(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Continue the first tokens by the model's most likely ones."""
    found = x[:, :FIRST]
    while found.shape[1] < x.shape[1]:
        found = torch.cat([found, _logits(objective, found)[:, -1:].argmax(2)], 1)
    return found


@torch.no_grad()
def likely(objective: CausalLM, x: Tensor, generator: Generator) -> Tensor:
    """Replace every second token by the model's most likely one behind those before it."""
    best = _logits(objective, x)[:, :-1].argmax(2)
    found = x.clone()
    found[:, 2::2] = best[:, 1::2]
    return found


BROKEN: dict[str, Made] = {
    "tokens replaced": replaced,
    "halves of two": spliced,
    "reversed": reversed_,
    "letters shuffled": letters,
}
LIKELY: dict[str, Made] = {
    "beginning tiled": tiled,
    "half twice": twice,
    "continued greedily": greedy,
    "most likely tokens": likely,
}


def _logits(objective: CausalLM, x: Tensor) -> Tensor:
    """Return the logits (N, T, vocabulary) behind each token."""
    return objective.predictions(x)[1]


def _repeated(x: Tensor, count: int) -> Tensor:
    """Repeat so many tokens behind the first one of each text."""
    times = -(-x.shape[1] // count)
    return _begun(
        x, torch.cat([x[:, :1], x[:, 1 : count + 1].repeat(1, times)], 1)[:, : x.shape[1]]
    )


def _begun(x: Tensor, changed: Tensor) -> Tensor:
    """Keep the first token of each text, which may be a mark that all begin with."""
    return torch.cat([x[:, :1], changed[:, 1:]], 1)


def _cut(objective: CausalLM, text: str, length: int) -> Tensor:
    found = ids_of(objective, [text])[0]
    return found.repeat(-(-length // len(found)))[:length]
