"""Write the texts of a page: python docs/results/pretrained/texts.py MODEL.gguf FOLDER.

Needs FIMETRIC_DATA. A text fills a window: it has 64 tokens of the model at least.
"""

import itertools
import json
import random
import sys
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

import fimetric as fm
from fimetric.store.files import whole_file

sys.path.insert(0, str(Path(__file__).parents[1] / "modalities"))
from fooling import shuffled_words

OWN, FOREIGN = (
    "wikitext2",
    (
        "ag_news",
        "tinyshakespeare",
        "pubmed_abstracts",
        "german_news",
        "python_code",
    ),
)
WINDOW, OF_OWN, OF_EACH = 64, 300, 150


def texts(name: str, count: int, tokenizer: Any) -> list[tuple[str, str]]:
    """Return the first texts of a set that are long enough, with their ids."""
    found = fm.data.load(name)
    pairs = zip(found.ids, found.raw(range(len(found))), strict=True)
    long = (pair for pair in pairs if len(tokenizer(pair[1])["input_ids"]) >= WINDOW)
    return list(itertools.islice(long, count))


def shuffled(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return texts with the words of each in another order."""
    draw = random.Random(0)
    return [(i, shuffled_words(text, draw)) for i, text in pairs]


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> None:
    lines = [json.dumps({"id": i, "text": text}, ensure_ascii=False) for i, text in pairs]
    with whole_file(folder / f"{name}.jsonl") as place:
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    model, folder = map(Path, sys.argv[1:])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(
        model.parent, gguf_file=model.name, local_files_only=True
    )
    own = texts(OWN, OF_OWN + OF_EACH, tokenizer)
    write(folder, OWN, own[:OF_OWN])
    write(folder, "shuffled_words", shuffled(own[OF_OWN:]))
    for name in FOREIGN:
        write(folder, name, texts(name, OF_EACH, tokenizer))


if __name__ == "__main__":
    main()
