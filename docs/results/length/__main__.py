"""Measure false alarms at each length by docs/results/length.head.md and write the page.

Called as ``python docs/results/length``. Needs FIMETRIC_DATA, transformers and tokenizers, and less
than an hour of one core. Models and tables are kept in runs/length, so a stopped run goes on when
it is called again.
"""

from pathlib import Path

import numpy as np
from model import trained
from page import write
from stretches import TRAINING, Tokens, of, parts
from tokenizers import Tokenizer

from judging import extracted, judged

RUNS = Path("runs/length")
FOREIGN = ("ag_news", "pubmed_abstracts")


def main() -> None:
    found, said = [], {}
    for data in TRAINING:
        folder = RUNS / data
        folder.mkdir(parents=True, exist_ok=True)
        model, tokenizer = trained(data, folder)
        own = parts(of(data, tokenizer))
        tables = extracted(model, own, _foreign(tokenizer), folder)
        found += judged(data, tables)
        test = tables.windows["own"][256]
        nats = float(np.mean(test.losses[:, 0] / test.dimensions))
        sizes = ", ".join(f"{len(each)} {name}" for name, each in own.items())
        said[data] = (
            f"Trained on {TRAINING[data]:,} rows; {nats:.2f} nats a token on the tested stretches. "
            f"Stretches: {sizes}; {len(tables.fit)} and {len(tables.calibration)} rows with "
            "prefixes."
        )
    write(found, said)


def _foreign(tokenizer: Tokenizer) -> dict[str, list[Tokens]]:
    return {name: of(name, tokenizer, own=False) for name in FOREIGN}


if __name__ == "__main__":
    main()
