"""The last hidden states of a language model, mean over the tokens of a text."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fimetric.data.batch import Input, join
from fimetric.data.keys import MASK, TOKENS
from fimetric.detectors import FullGaussian
from fimetric.detectors.relative_mahalanobis import BACKGROUND
from fimetric.extraction.parts import row_digests
from fimetric.objectives import CausalLM
from fimetric.objectives.reading import read
from fimetric.objectives.texts import texts_of
from fimetric.objectives.tokenizer import padded
from fimetric.statistics.base import Statistic
from fimetric.statistics.needs import predictions_of, require_causal
from fimetric.typing import Array


class HiddenStates(Statistic):
    r"""Creates the D entries of the mean of what the map to the vocabulary gets of each token.

    ``FullGaussian`` on them is the Mahalanobis distance of Lee et al., with a shrunk covariance:
    its score is half of the squared distance, and a constant.

    With a background set there is the column ``background`` too, minus the log density under a
    ``FullGaussian`` of that set's hidden states. ``RelativeMahalanobis`` takes it off, as Ren et
    al. do: entries that differ between any texts then count less. Their background is general
    texts. Where a model was trained on own texts alone, ``shuffled`` own texts are one: they have
    the words, and no sense. Take nothing of the foreign data that it is tested on.

    Arguments:
        objective: a ``CausalLM`` of a model of transformers.
        background: texts, whatever ``fimetric.data.batches`` takes, and strings; none if None.
        batch_size: texts of the background to a forward pass.
        progress: whether to show it while the background is read.

    Raises:
        TypeError: for another objective, or a model whose map to the vocabulary is not found.
        ValueError: for a background of fewer than two texts.

    References:
        A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks
        (Lee, Lee, Lee and Shin, 2018), arXiv:1807.03888
        Out-of-Distribution Detection and Selective Generation for Conditional Language Models
        (Ren, Luo, Zhao, Krishna, Saleh, Lakshminarayanan and Liu, 2022), arXiv:2209.15558
    """

    name = "hidden-states"

    def __init__(
        self,
        objective: CausalLM,
        background: Any = None,
        batch_size: int = 64,
        progress: bool = True,
    ) -> None:
        require_causal(objective, "HiddenStates")
        super().__init__(objective)
        self._head = _head(objective.module)
        self._gaussian: FullGaussian | None = None
        self._background: str | None = None
        if background is not None:
            self._fit(background, batch_size, progress)

    def _fit(self, background: Any, batch_size: int, progress: bool) -> None:
        """Learn the Gaussian of the background."""
        batch = join(list(read(self.objective, background, batch_size)))
        table = self.features(batch.entries(), batch_size, progress=progress)
        self._gaussian = FullGaussian().fit(table)
        self._background = hashlib.sha256(b"".join(row_digests(batch))).hexdigest()[:16]
        self._none = table.select(slice(0))

    @property
    def names(self) -> list[str]:
        """``hidden[0]`` and so on, and ``background`` where there is one."""
        entries = [f"hidden[{j}]" for j in range(self._head.weight.shape[1])]
        return entries if self._gaussian is None else [*entries, BACKGROUND]

    def settings(self) -> dict[str, Any]:
        """Return a hash of the background, where there is one."""
        return {} if self._background is None else {"background": self._background}

    def measure(self, x: Input) -> Tensor:
        """Return the columns (N, K) of texts (N, T), in float64.

        Raises:
            TypeError: where the model does not use its map to the vocabulary.
        """
        objective: Any = self.objective
        with _inputs(self._head) as seen:
            texts, _ = predictions_of(objective, x)
        if not seen or seen[-1].shape[:2] != texts.tokens.shape:
            raise TypeError(_no_head(objective.module))
        lengths = texts.mask.sum(1).tolist()
        rows = [row[:n].double().mean(0) for row, n in zip(seen[-1], lengths, strict=True)]
        hidden = torch.stack(rows)
        if self._gaussian is None:
            return hidden
        scores = torch.from_numpy(self._scores(self._gaussian, hidden.detach().cpu().numpy()))
        return torch.cat([hidden, scores.to(hidden)[:, None]], 1)

    def _scores(self, gaussian: FullGaussian, hidden: Array) -> Array:
        """Return minus the log density (N,) of the background at hidden states (N, D)."""
        N = len(hidden)
        ids = tuple(map(str, range(N)))
        dimensions = np.ones(N, dtype=np.int64)
        losses = np.zeros((N, 1))
        return gaussian.score(
            replace(self._none, values=hidden, losses=losses, ids=ids, dimensions=dimensions)
        )


def shuffled(
    objective: CausalLM, data: Any, seed: int = 0, batch_size: int = 64
) -> dict[str, Tensor]:
    """Return texts with their tokens in random order, the first left in its place.

    Arguments:
        objective: a ``CausalLM``, which says what the tokens are.
        data: texts, whatever ``fimetric.data.batches`` takes, and strings.
        seed: of the orders.
        batch_size: texts to read at once.

    Returns:
        ``input_ids`` and ``attention_mask``, (N, T).
    """
    generator = torch.Generator().manual_seed(seed)
    ids: list[Sequence[int]] = []
    for batch in read(objective, data, batch_size):
        texts = texts_of(batch.x).cut(objective.window)
        for row, n in zip(texts.tokens.cpu(), texts.mask.sum(1).tolist(), strict=True):
            order = 1 + torch.randperm(n - 1, generator=generator)
            ids.append([int(row[0]), *row[order].tolist()])
    tokens, mask = padded(ids)
    return {TOKENS: tokens, MASK: mask.long()}


def _head(model: nn.Module) -> Any:
    """Return the map from hidden states to the vocabulary.

    Raises:
        TypeError: where the model does not tell it.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    if not isinstance(head, nn.Module) or getattr(head, "weight", None) is None:
        raise TypeError(_no_head(model))
    return head


def _no_head(model: nn.Module) -> str:
    return (
        f"HiddenStates takes what the map to the vocabulary gets of each token, and "
        f"{type(model).__name__} does not show it: let get_output_embeddings() return the module "
        "that makes logits (N, T, vocabulary) of hidden states (N, T, D), as in transformers"
    )


@contextmanager
def _inputs(module: nn.Module) -> Iterator[list[Tensor]]:
    """Keep what a module is called with, call by call."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    try:
        yield seen
    finally:
        handle.remove()
