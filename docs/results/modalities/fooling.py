"""Texts made of others, which a language model may hold for more likely than those."""

import re
from collections.abc import Callable
from random import Random
from string import ascii_letters

Make = Callable[[str, Random], str]
Units = Callable[[str, Random], list[str]]


def word(text: str, draw: Random) -> list[str]:
    """Return one of a text's words, drawn among those of letters where it has any."""
    words = text.split()
    return [draw.choice([each for each in words if each.isalpha()] or words) + " "]


def sentences(text: str, draw: Random) -> list[str]:
    """Return the sentences of a text whose words stand apart from its stops."""
    found = re.findall(r"\S.*?(?: [.?!](?= |$)|$)", text, re.DOTALL)
    return [f"{each} " for each in found]


def lines(text: str, draw: Random) -> list[str]:
    """Return the lines of a text that are not blank."""
    return [f"{each}\n" for each in text.splitlines() if each.strip()]


def letter(text: str, draw: Random) -> list[str]:
    return [draw.choice(ascii_letters)]


def shuffled_words(text: str, draw: Random) -> str:
    """Return a text with its words in another order, and its spaces and ends of lines in theirs."""
    words = text.split()
    words = draw.sample(words, len(words))
    return re.sub(r"\S+", lambda _: words.pop(0), text)


def capitals(text: str, draw: Random) -> str:
    """Return a text in capitals, where those are one letter each."""
    return "".join(upper if len(upper := each.upper()) == 1 else each for each in text)


def repeated(unit: str, letters: int) -> str:
    """Return a unit again and again, up to so many letters."""
    return (unit * (letters // len(unit) + 1))[:letters]


REARRANGED: dict[str, Make] = {"shuffled-words": shuffled_words, "capitals": capitals}


def repeating(own: str) -> dict[str, Units]:
    """Return the sets that repeat a unit, each with what tells those of a text of a data set."""
    parts = lines if own == "python_code" else sentences
    return {"repeated-words": word, "repeated-sentences": parts, "one-letter": letter}
