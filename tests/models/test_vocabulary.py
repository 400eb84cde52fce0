"""Every text has tokens and comes back; the vocabulary is a function of the texts alone."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tokenizers")

from fimetric.models.vocabulary import BEGINNING, Vocabulary, learned

TEXTS = [
    "the river ran, the stone was slow",
    "in 1852 the river was a stone 漢字 漢字",
    "a\n\n    b\n",
]
VOCABULARY = Vocabulary(learned(TEXTS * 2, 290))
LEARN = f"""
import sys
import fimetric
from fimetric.models.vocabulary import learned
assert not {{"transformers", "tokenizers"}} & set(sys.modules), "imported before it is used"
print(learned({TEXTS * 2!r}, 290))
"""


def merged(text: str, merges: tuple[str, ...]) -> list[str]:
    """Pairs merged one after the other, in the order that they were learned in."""
    pieces = list(text)
    for pair in (merge.split(" ") for merge in merges):
        i = 0
        while i < len(pieces) - 1:
            if pieces[i : i + 2] == pair:
                pieces[i : i + 2] = ["".join(pair)]
            i += 1
    return pieces


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back(text):
    (ids,) = VOCABULARY.encoded([text])
    assert ids[0] == VOCABULARY.beginning and VOCABULARY.beginning not in ids[1:]
    assert VOCABULARY.decoded(ids) == text
    assert sum(VOCABULARY.lengths[i] for i in ids) == len(text.encode())


@pytest.mark.parametrize("text", [BEGINNING, f"a{BEGINNING}b", "<s>", "<|endoftext|>", "\0", " "])
def test_what_looks_like_a_mark_is_a_text(text):
    (ids,) = VOCABULARY.encoded([text])
    assert VOCABULARY.beginning not in ids[1:] and VOCABULARY.decoded(ids) == text


def test_tokens_are_those_of_the_merges_one_after_the_other():
    merges = learned(TEXTS * 2, 290)
    words = {"river", "stone", "slow", "overriver", "was"}
    made = Vocabulary(merges)
    for word in words:
        (ids,) = made.encoded([word])
        pieces = merged(word, merges)
        assert [made.decoded([i]) for i in ids[1:]] == pieces
    assert any(len(merged(word, merges)) < len(word) for word in words)


def test_merges_are_of_the_most_frequent_pairs():
    texts = ["ab ab ab ab", "cd cd cd", "ef"]
    assert learned(texts, 259) == ("a b", "c d")  # "Ġ ab" three times as well, and later in order
    assert not [merge for merge in learned(texts, 400) if "e" in merge]  # seen once


def test_the_vocabulary_is_a_function_of_the_texts_alone():
    merges = learned(TEXTS * 2, 290)
    assert merges == learned((TEXTS * 2)[::-1], 290) and len(merges) == 290 - 257
    environment = {**os.environ, "PYTHONHASHSEED": "1", "TOKENIZERS_PARALLELISM": "true"}
    made = subprocess.run(
        [sys.executable, "-c", LEARN], env=environment, capture_output=True, text=True
    )
    assert made.stdout.strip() == repr(merges), made.stderr


def test_a_smaller_vocabulary_has_the_first_merges_of_a_larger_one():
    assert learned(TEXTS * 2, 270) == learned(TEXTS * 2, 290)[: 270 - 257]


@pytest.mark.parametrize("wrong", ["ab", "a b c", "th e", "", "漢 a"])
def test_what_is_no_merge_is_refused(wrong):
    with pytest.raises(ValueError, match="not two tokens known before it"):
        Vocabulary(("t h",) * (wrong != "th e") + (wrong,))


def test_tokens_that_are_no_text_are_replaced():
    (ids,) = VOCABULARY.encoded(["é"])
    assert VOCABULARY.decoded(ids[1:2]) == "\ufffd"
