"""Write the sets of texts: python docs/results/modalities/prepare_text.py [OWN MODEL [FOLDER]].

Needs FIMETRIC_DATA and takes seconds. By itself it writes, for both own sets, texts of their
natural lengths. With one of them and the folder of a model trained on it, it writes the same sets
of 64 tokens of that model each: the beginnings of texts that are long enough. They lie in a folder
called as the own set, or otherwise for a model that others trained.

A model is trained on the train part of its own set, so all its own texts are of the test part.
Those that are altered to fool it are not among the others.
"""

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

from fooling import REARRANGED, repeated, repeating
from rows import TOKENS, Row, beginning, stored
from sets import PLACE, SEED, write, write_counts
from spacing import spaced

import fimetric as fm

OWN = ("wikitext2", "python_code")
FOREIGN = ("ag_news", "tinyshakespeare", "pubmed_abstracts", "german_news")
SPACED = {"wikitext2": ("ag_news", "pubmed_abstracts")}
OF_EACH = 500  # texts of a foreign set at most
LONGEST = 1 << 13  # letters of a repeated unit, in which the tokens of a text are looked for
Cut = Callable[[str], str | None]
Rows = Iterable[Row | None]


def main(arguments: list[str], place: Path = PLACE) -> None:
    if not arguments:
        for own in OWN:
            put(place / own / "natural", sets(own, lambda text: text))
        return
    own, model, *folder = arguments
    tokenizer = fm.objectives.from_pretrained(model).tokenizer
    put(
        place / (folder or [own])[0] / str(TOKENS),
        sets(own, lambda text: beginning(text, tokenizer)),
    )


def sets(own: str, cut: Cut) -> dict[str, Rows]:
    """Return the sets for models of a data set; a row is None where no text could be made.

    Arguments:
        own: name of the data set.
        cut: text -> the text at its length, None where it is too short.
    """
    rows = stored(own, "test")
    altered, rest = rows[:OF_EACH], rows[OF_EACH:]
    found = {"own": changed(rest, cut)}
    for name in (*FOREIGN, *(other for other in OWN if other != own)):
        found[name] = changed(both_parts(name), cut)
    for name in SPACED.get(own, ()):
        found[f"{name}-spaced"] = changed(both_parts(name), lambda text: cut(spaced(text)))
    for name, make in REARRANGED.items():
        made = [replace(row, text=make(row.text, drawn(name, row))) for row in altered]
        found[name] = changed(made, cut)
    for name, units in repeating(own).items():
        found[name] = [again(row, units(row.text, drawn(name, row)), cut) for row in altered]
    return found


def both_parts(data: str) -> Iterator[Row]:
    """Return all texts of a data set, those of its test part first."""
    return itertools.chain(stored(data, "test"), stored(data, "train"))


def drawn(name: str, row: Row) -> Random:
    """Return what is drawn from for a row of a set, so that no other row changes it."""
    return Random(f"{SEED}/{name}/{row.id}")


def changed(rows: Iterable[Row], change: Cut) -> Rows:
    for row in rows:
        text = change(row.text)
        yield None if text is None else replace(row, text=text)


def again(row: Row, units: list[str], cut: Cut) -> Row | None:
    """Return a row with the first unit that comes twice at least where it fills the length."""
    texts = ((unit, filled(unit, len(row.text), cut)) for unit in units)
    found = (text for unit, text in texts if text and len(text) >= 2 * len(unit))
    text = next(found, None)
    return None if text is None else replace(row, text=text)


def filled(unit: str, letters: int, cut: Cut) -> str | None:
    """Return a unit again and again, so often that its tokens, which may be long, are enough."""
    while (text := cut(repeated(unit, letters))) is None and letters < LONGEST:
        letters *= 2
    return text


def taken(rows: Rows, most: int | None) -> tuple[list[Row], int]:
    """Return the first rows, no text of which comes twice, and how many were left out before."""
    made: dict[str, Row] = {}
    given = 0
    for row in rows:
        given += 1
        if row is not None:
            made.setdefault(row.text, row)
        if len(made) == most:
            break
    return list(made.values()), given - len(made)


def put(folder: Path, found: dict[str, Rows]) -> None:
    """Write sets into a folder, and beside it their counts."""
    counts = {}
    for name, rows in found.items():
        made, left_out = taken(rows, None if name == "own" else OF_EACH)
        if not made:
            raise ValueError(f"{folder / name} has no text that is long enough")
        columns = {key: [getattr(row, key) for row in made] for key in ("id", "text", "label")}
        write(folder / name, "test", columns)
        counts[name] = {"samples": len(made), "left_out": left_out}
    write_counts(folder.with_suffix(".json"), counts)


if __name__ == "__main__":
    main(sys.argv[1:])
