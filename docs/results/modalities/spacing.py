"""Plain English texts spaced as those of wikitext2, so that spaces do not tell them from those.

There words and marks stand apart: ``" , "``, ``" . "``, ``" 's"``, ``" ( "``. Numbers (2,200 and
7.62), hyphenated words and abbreviations stay whole. Known differences that stay: rare words are
``<unk>`` there, and marks of other sets, such as ``--``, are as they were.
"""

import re

MARK = re.compile(r"\.{2,}|(?:[^\w\s.,'-]|_)")
COMMA = re.compile(r"(?<!\d),|,(?!\d)")
LETTER = r"[^\W\d_]"
ABBREVIATION = re.compile(
    rf"(?:(?:{LETTER}+\.)*{LETTER}"  # D. and U.S.
    "|Mrs?|Ms|Dr|Prof|St|[JS]r|Gen|Col|Maj|Capt|Lt|Sgt|Adm|Gov|Sen|Rep|Rev|Hon|Nos?|Co|Corp|Inc|Ltd"
    r"|Bros|[Vv]s|al|etc|cf|Fig|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\."
)
APOSTROPHE = re.compile(  # it 's and 1990 's; else it stands by itself: the patients ' own
    rf"(?P<of_next>(?<={LETTER})'(?={LETTER})|(?<=\d)'(?=s\b)|(?<= )'(?=(?:s|t|re|ve|ll|d|m)\b))|'"
)


def spaced(text: str) -> str:
    """Return a text with words and marks apart, by one space each, in one line."""
    text = MARK.sub(lambda mark: f" {mark[0]} ", text)
    text = COMMA.sub(" , ", text)
    text = APOSTROPHE.sub(lambda mark: " '" if mark["of_next"] else " ' ", text)
    words = text.split()
    return " ".join(map(_stopped, words, [*words[1:], ""]))


def _stopped(word: str, following: str) -> str:
    """Return a word with its full stop apart, unless that is of an abbreviation."""
    stem = word[:-1]
    if not word.endswith(".") or not stem.strip("."):
        return word
    abbreviated = ABBREVIATION.fullmatch(word) or following[:1].islower()
    return word if abbreviated and following else f"{stem} ."
