"""Choose the blocks of a score by docs/results/blocks.head.md and write docs/results/blocks.md.

    python docs/results/blocks [--jobs N]

Needs FIMETRIC_DATA and the sets of the page of modalities (docs/results/modalities/run.sh makes
them); an hour and a half on 2 cores. No foreign data is read. Tables are kept in runs/blocks, so a
stopped run goes on when it is called again.
"""

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

from page import write

from fimetric.progress import progress
from judging import judge
from models import models


def main() -> None:
    parser = argparse.ArgumentParser(description="Choose the blocks of a score.")
    parser.add_argument("--jobs", type=int, default=2, help="models at once (default 2)")
    cases = models()
    found = {}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(parser.parse_args().jobs, context) as pool,
        progress("models", len(cases)) as advance,
    ):
        for case, judged in zip(cases, pool.map(judge, cases), strict=True):
            found[case] = judged
            advance(1)
    write(found)


if __name__ == "__main__":
    main()
