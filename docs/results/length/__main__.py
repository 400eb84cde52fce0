"""Measure false alarms at each length by docs/results/length.head.md and write the page.

Called as ``python docs/results/length``. Needs FIMETRIC_DATA, transformers and tokenizers, and an
hour of one core. Models and tables are kept in runs/length, so a stopped run goes on when
it is called again.
"""

from pathlib import Path

import numpy as np
from model import trained
from page import write
from stretches import LENGTH, SEED, TRAINING, Tokens, of, parts
from tokenizers import Tokenizer

from judging import DRAWS, extracted, judged

RUNS = Path("runs/length")
FOREIGN = ("ag_news", "pubmed_abstracts")


def main() -> None:
    found, again, said = [], [], {}
    for data in TRAINING:
        folder = RUNS / data
        folder.mkdir(parents=True, exist_ok=True)
        model, tokenizer = trained(data, folder)
        own = of(data, tokenizer)
        tables = extracted(model, tokenizer, own, _foreign(tokenizer), folder)
        found += judged(data, tables)
        for seed in range(SEED + 1, SEED + 1 + DRAWS):
            again += judged(data, tables, seed)
        whole = tables.windows[LENGTH]
        nats = float(np.mean(whole.losses[:, 0] / whole.dimensions))
        sizes = ", ".join(f"{len(rows)} {name}" for name, rows in parts(len(own)).items())
        said[data] = (
            f"Trained on {TRAINING[data]:,} rows; {nats:.2f} nats a token on the {len(own):,} "
            f"stretches: {sizes}."
        )
    write(found, again, said)


def _foreign(tokenizer: Tokenizer) -> dict[str, list[Tokens]]:
    return {name: of(name, tokenizer, own=False) for name in FOREIGN}


if __name__ == "__main__":
    main()
