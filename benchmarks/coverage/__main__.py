"""Run every case through the engine and write docs/engine-coverage.md and .csv.

Arguments are words; only rows with one of them in their name are run then, and nothing is written.
"""

import contextlib
import io
import logging
import sys
import time
import warnings
from pathlib import Path

from cases import cases
from goals import goals
from measure import EXACT, Row, measure
from table import write

from fimetric.progress import progress

PAGE = Path(__file__).parents[2] / "docs" / "engine-coverage.md"


def silence() -> None:
    """Keep the libraries' advice on tiny random models out of the output."""
    import diffusers
    import transformers

    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("torch").setLevel(logging.ERROR)


def run(words: list[str]) -> list[Row]:
    wanted = [c for c in cases() if not words or any(word in c.name for word in words)]
    rows = []
    with progress("models", len(wanted)) as advance:
        for case in wanted:
            advance(0, case.name)
            with contextlib.redirect_stdout(io.StringIO()):
                rows.append(measure(case))
            advance(1)
    return rows


def main() -> None:
    silence()
    start = time.perf_counter()
    words = sys.argv[1:]
    rows = run(words)
    for row in rows:
        if words or row.status != EXACT:
            counts = ", ".join(f"{count} {way}" for way, count in row.tensors.items())
            print(f"{row.name}: {row.status}, {counts}, {row.error:.0e}, {row.ratio:.2f}"[:120])
            print(f"    {row.message}" if row.message else "", end="\n" if row.message else "")
    for goal in goals(rows):
        print(f"{'met' if goal.met else 'NOT met'}: {goal.what}: {goal.measured}")
    if not words:
        write(rows, PAGE, time.perf_counter() - start)
        print(f"written to {PAGE} and {PAGE.with_suffix('.csv').name}")


if __name__ == "__main__":
    main()
