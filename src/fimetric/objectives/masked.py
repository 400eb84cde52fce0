"""Pseudo-likelihoods of masked language models."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fimetric.arguments import whole_or_none
from fimetric.data.batch import Input
from fimetric.data.rows import RowError
from fimetric.objectives.base import Losses
from fimetric.objectives.logits import logits_at
from fimetric.objectives.positions import Predicted, predicted
from fimetric.objectives.texts import Texts, texts_of
from fimetric.objectives.textual import Textual, costs

TOGETHER = 1 << 14  # tokens that go through the model at once
SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id", "cls_token_id", "sep_token_id")


class MaskedLM(Textual):
    """Creates the negative pseudo-log-likelihood of a masked language model.

        l(x) = - sum_t log p(x_t | x without x_t)

    over all tokens of a text that are not special: a text of T of them goes through the model T
    times, each time with another one masked. With ``positions`` only so many of them are masked,
    drawn anew for each length of a text and the same for all texts of that length, and their sum is
    scaled to all T.

    Arguments:
        model: as in transformers: token ids and attention mask (N, T) -> object with ``logits``
            (N, T, vocabulary).
        tokenizer: of transformers; with it a batch, or the data of a detector, may be strings. It
            says which token masks, and which are special; without it the model's ``config`` does.
        positions: how many positions of a text are masked; all if None.
        seed: of the draw of positions.

    Raises:
        TypeError: for a tokenizer of another library, or positions that are no whole number.
        ValueError: where nothing says which token masks.

    References:
        Masked Language Model Scoring (Salazar, Liang, Nguyen and Kirchhoff, 2020, arXiv 1910.14659)
    """

    kind = "pseudo-likelihood"

    def __init__(
        self, model: nn.Module, tokenizer: Any = None, positions: int | None = None, seed: int = 0
    ) -> None:
        super().__init__(self.forward, model, tokenizer, seed)
        self.positions = whole_or_none("positions", positions)
        self.mask = self._mask()
        self.special = self._special()

    def views(self) -> dict[str, Losses]:
        """Return the one view."""
        return {"": self._pseudo_likelihood}

    def _mask(self) -> int:
        """Return the token that masks.

        Raises:
            ValueError: where nothing says which one it is.
        """
        says = getattr(self.module, "config", None) if self.tokenizer is None else self.tokenizer
        found = getattr(says, "mask_token_id", None)
        if not isinstance(found, int):
            raise ValueError(
                f"{type(says).__name__ if says is not None else type(self.module).__name__} has no "
                f"mask_token_id, so that no position can be masked; give MaskedLM the tokenizer of "
                "a masked model"
            )
        return found

    def _special(self) -> tuple[int, ...]:
        """Return the tokens that are no part of the text; an unknown word is one."""
        if self.tokenizer is None:
            config = getattr(self.module, "config", None)
            found = {getattr(config, name, None) for name in SPECIAL}
        else:
            found = {*self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}
        return tuple(sorted({self.mask, *(one for one in found if isinstance(one, int))}))

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of tokens of each text (N,) that are not special."""
        return self._own(texts_of(batch, self.least)).sum(1).cpu()

    def settings(self) -> dict[str, Any]:
        """Return the number of positions, and a hash of the tokenizer where there is one."""
        return {"positions": self.positions, **self._told()}

    def _own(self, texts: Texts) -> Tensor:
        """Mark the tokens (N, T) that are not special.

        Raises:
            RowError: naming the rows that have none.
        """
        special = torch.tensor(self.special, device=texts.tokens.device)
        own = texts.mask & ~torch.isin(texts.tokens, special)
        if empty := (~own.any(1)).nonzero().flatten().tolist():
            raise RowError(
                empty, ": a text of special tokens alone has none to predict; leave it out"
            )
        return own

    def _pseudo_likelihood(self, batch: Input) -> Tensor:
        texts = self._texts(batch)
        places, weights = self._asked(texts)
        told = self._predictions(texts, places)
        found = [costs(logits, ids.flatten()).view_as(ids) for ids, logits in told]
        each = torch.cat(found, 1)
        return (each * weights.to(each)).sum(1)

    def _predicted(self, batch: Input) -> Iterator[Predicted]:
        texts = self._texts(batch)
        places, weights = self._asked(texts)
        rows: list[list[Predicted]] = [[] for _ in places]
        for targets, logits in self._predictions(texts, places):
            each = zip(rows, logits.view(*targets.shape, -1), targets, strict=True)
            for row, told, tokens in each:
                row.append(predicted(told, tokens))
        for row, n in zip(rows, weights.count_nonzero(1).tolist(), strict=True):
            yield Predicted(*(torch.cat(numbers)[:n] for numbers in zip(*row, strict=True)))

    def _predictions(self, texts: Texts, places: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield tokens (N, k) at some of the places (N, K), and their logits (N k, vocabulary)."""
        for some in places.split(max(1, TOGETHER // texts.tokens.numel()), 1):
            yield texts.tokens.gather(1, some), self._logits(texts, some)

    def _logits(self, texts: Texts, places: Tensor) -> Tensor:
        """Return the logits (N K, vocabulary) of the tokens at some places, each masked alone."""
        N, T = texts.tokens.shape
        K = places.shape[1]
        masked = texts.tokens[:, None].repeat(1, K, 1).scatter(2, places[..., None], self.mask)
        others = {} if texts.mask.all() else {"attention_mask": texts.mask.long()}
        others = {key: x.repeat_interleave(K, 0) for key, x in others.items()}
        return logits_at(self.module, masked.view(N * K, T), places.flatten(), **others)

    def _asked(self, texts: Texts) -> tuple[Tensor, Tensor]:
        """Return which places are masked (N, K), and what each counts for; 0 behind the last."""
        rows = list(self._drawn(texts))
        K = max(len(places) for places, _ in rows)
        places = torch.stack(
            [nn.functional.pad(p, (0, K - len(p)), value=int(p[0])) for p, _ in rows]
        )
        weights = [[weight] * len(p) + [0.0] * (K - len(p)) for p, weight in rows]
        return places, torch.tensor(weights, dtype=torch.float64)

    def _drawn(self, texts: Texts) -> Iterator[tuple[Tensor, float]]:
        """Yield the places of each text that are masked, and how many of its tokens each is for."""
        for tokens, own in zip(texts.tokens, self._own(texts), strict=True):
            places = own.nonzero().flatten()
            count = len(places)
            if self.positions is not None and self.positions < count:
                content = tokens[places][None].float()
                draw = self._noise(f"positions of {count}", (count,), content, "uniform")
                places = places[draw[0].argsort()[: self.positions].sort().values]
            yield places, count / len(places)
