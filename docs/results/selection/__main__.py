"""Score every candidate by docs/results/selection.head.md and write docs/results/selection.md.

Called as ``python docs/results/selection``. Needs FIMETRIC_DATA, and less than an hour on 2 cores.
No foreign data is read. Tables are kept in runs/selection, so a stopped run goes on when it is
called again.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

from page import write
from selecting import judge
from tables import models

from fimetric.progress import progress


def main() -> None:
    cases = models()
    found = {}
    context = multiprocessing.get_context("spawn")
    with (
        ProcessPoolExecutor(os.cpu_count(), context) as pool,
        progress("models", len(cases)) as advance,
    ):
        for name, results in pool.map(judge, cases):
            found[name] = results
            advance(1)
    write(found)


if __name__ == "__main__":
    main()
