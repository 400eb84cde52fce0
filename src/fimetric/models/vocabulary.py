"""Byte-level byte-pair encoding: a vocabulary learned from texts, in which every text has tokens.

Neural Machine Translation of Rare Words with Subword Units (Sennrich et al., 2016,
arXiv:1508.07909), on bytes of UTF-8 in place of letters as in Language Models are Unsupervised
Multitask Learners (Radford et al., 2019). Its merges define all of it: tokens are the 256 bytes,
what each merge makes, and one that stands in front of every text.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from fimetric.libraries import library

EXTRA = "fimetric[text]"
BYTES = 256
LEAST = BYTES + 1  # tokens of a vocabulary without merges
BEGINNING = "<beginning of text>"  # bytes are written without blanks, so no text has this token
OFTEN = 2  # times that two tokens stand together to be merged


def learned(texts: Iterable[str], size: int) -> tuple[str, ...]:
    """Return the merges of a vocabulary of so many tokens at most, as strings ``first second``.

    They are a function of the texts alone, whatever their order.
    """
    tokenizers = library("tokenizers", EXTRA)
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = _on_bytes(tokenizers)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size - 1,
        min_frequency=OFTEN,
        initial_alphabet=_alphabet(tokenizers),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    return tuple(" ".join(pair) for pair in json.loads(made.to_str())["model"]["merges"])


class Vocabulary:
    """Creates a vocabulary.

    Arguments:
        merges: pairs of tokens that become one, most frequent first, as ``learned`` returns them.

    Raises:
        ValueError: for what is no merge of two tokens before it.
        ImportError: without the library tokenizers.
    """

    def __init__(self, merges: Sequence[str]) -> None:
        ids = {byte: i for i, byte in enumerate(_alphabet(library("tokenizers", EXTRA)))}
        for merge in merges:
            if len(pair := merge.split(" ")) != 2 or not ids.keys() >= set(pair):
                raise ValueError(f"merges has {merge!r}, which are not two tokens known before it")
            ids.setdefault("".join(pair), len(ids))
        self.lengths = [*map(len, ids), 0]
        """Bytes of each token; the last stands in front of every text and has none."""
        self._ids = ids
        self._pairs = [tuple(merge.split(" ")) for merge in merges]

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.lengths)

    @property
    def beginning(self) -> int:
        """The token in front of every text."""
        return len(self._ids)

    @cached_property
    def tokenizer(self) -> Any:
        """A ``tokenizers.Tokenizer``."""
        parts, beginning = library("tokenizers", EXTRA), (BEGINNING, self.beginning)
        bpe = parts.models.BPE({**self._ids, BEGINNING: self.beginning}, self._pairs)
        made = parts.Tokenizer(bpe)
        made.pre_tokenizer = _on_bytes(parts)
        made.decoder = parts.decoders.ByteLevel()
        made.post_processor = parts.processors.TemplateProcessing(
            single=[BEGINNING, "$A"], special_tokens=[beginning]
        )
        return made

    def encoded(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of texts, ``beginning`` in front of each."""
        return [each.ids for each in self.tokenizer.encode_batch(list(texts))]

    def decoded(self, tokens: Iterable[int]) -> str:
        """Return the text of tokens, without ``beginning``; what is no UTF-8 becomes U+FFFD."""
        text: str = self.tokenizer.decode([i for i in tokens if i != self.beginning])
        return text


def _alphabet(tokenizers: Any) -> list[str]:
    """Return a letter for each byte."""
    return sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())


def _on_bytes(tokenizers: Any) -> Any:
    return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
