"""Strings as token ids: the tokenizer of a language model as it was when an objective was made."""

import copy
import hashlib
import itertools
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fimetric.arguments import shown
from fimetric.data.rows import RowError, RowTypeError
from fimetric.fingerprint.structure import tokenizer_parts

ENDLESS = 1 << 60  # tokens; what is too long for the model is told by the objective, by row
WORDS = 6  # of a text in a message
LETTERS = 60
TOLD_BY = ("", "a", "The Cat\nsat, on  2 mats!", "É ö ß – 漢字 🙂")
"""Texts whose tokens tell how a tokenizer treats capitals, spaces, accents, beginnings and ends."""


class Tokenizer:
    """Makes token ids of texts, with the beginning and end that a tokenizer itself puts to them.

    Arguments:
        tokenizer: of transformers. It is copied, so that no later change of it changes a score.

    Raises:
        TypeError: for anything else.
    """

    def __init__(self, tokenizer: Any) -> None:
        _refuse_others(tokenizer)
        self.theirs = copy.deepcopy(tokenizer)
        self.theirs.model_max_length = ENDLESS
        self.digest = self._digest()

    def __call__(self, texts: Sequence[str], target: bool = False) -> list[list[int]]:
        """Return the token ids of each text.

        Arguments:
            texts: strings.
            target: whether they are what a sequence-to-sequence model writes, and not what it
                reads: some tokenizers treat the two differently.

        Raises:
            RowTypeError: for a text that is none, naming the row.
            RowError: for one that the tokenizer cannot read, naming the row.
        """
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise RowTypeError([row], f" is {shown(text)}, and must be a text")
        try:
            return self._made(texts, target)
        except Exception as error:  # of a library, in any of its kinds
            row = next((i for i, text in enumerate(texts) if self._fails(text, target)), 0)
            raise RowError(
                [row],
                f", {quoted(texts[row])}: {error}; take the model's own tokenizer, or leave the "
                "text out",
                "the tokenizer cannot read ",
            ) from error

    def spelled(self, ids: Sequence[Sequence[int]]) -> list[str]:
        """Return the texts that token ids spell, special ones left out."""
        told = {"skip_special_tokens": True, "clean_up_tokenization_spaces": False}
        return [self.theirs.decode(list(row), **told) for row in ids]

    def _made(self, texts: Sequence[str], target: bool) -> list[list[int]]:
        named = {"text_target": list(texts)} if target else {"text": list(texts)}
        return [list(map(int, ids)) for ids in self.theirs(**named)["input_ids"]]

    def _fails(self, text: str, target: bool) -> str:
        """Return which error a text ends in; empty where it ends in none."""
        try:
            self._made([text], target)
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _digest(self) -> str:
        """Return a hash of all that changes tokens: its files, and what it makes of some texts."""
        told: list[Any] = [dict(tokenizer_parts(self.theirs))]
        for text, target in itertools.product(TOLD_BY, (False, True)):
            told += [self._fails(text, target) or self._made([text], target)]
        text = json.dumps(told, sort_keys=True, default=str)
        return f"sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def padded(ids: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return token ids (N, T), with 0 behind a text, and where there is text, (N, T) bool."""
    lengths = torch.tensor([len(row) for row in ids])
    longest = max(int(lengths.max()), 1)
    tokens = torch.tensor([[*row, *[0] * (longest - len(row))] for row in ids])
    return tokens, torch.arange(longest) < lengths[:, None]


def quoted(text: str) -> str:
    """Return the beginning of a text, for a message that names its row."""
    beginning = " ".join(text.split()[:WORDS])[:LETTERS]
    return repr(beginning if beginning == text else f"{beginning} ...")


def _refuse_others(tokenizer: Any) -> None:
    """Refuse what is no tokenizer of transformers.

    Raises:
        TypeError: saying how to come to one.
    """
    if callable(tokenizer) and callable(getattr(tokenizer, "get_vocab", None)):
        return
    remedy = "transformers.AutoTokenizer.from_pretrained(folder) opens one"
    if hasattr(tokenizer, "encode_batch"):
        remedy = "transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer) makes one of it"
    raise TypeError(f"tokenizer must be one of transformers, not {shown(tokenizer)}; {remedy}")
