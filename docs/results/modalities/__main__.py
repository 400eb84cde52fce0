"""Run the benchmarks of all modalities and write docs/results/modalities.md and findings.md.

    python docs/results/modalities            # all; what is done is kept in runs/modalities
    python docs/results/modalities text audio # these alone are run; no page is written

The models lie in checkpoints/, the sets in runs/modalities/data: docs/results/modalities/run.sh
makes the sets first.
"""

import argparse
import logging

import findings
import page
from rich.logging import RichHandler

from studies import NAMES, study


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description="Measure the method on all modalities.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--jobs", type=int, help="processes side by side; one a core if left out")
    given = parser.parse_args()
    for name in given.names:
        if name not in NAMES:
            parser.error(f"there is no {name!r}; there are {', '.join(NAMES)}")
    handlers = [RichHandler(show_path=False, show_time=False)]
    logging.basicConfig(level=logging.INFO, handlers=handlers, format="%(message)s")
    studies = [study(name, given.jobs) for name in given.names or NAMES]
    if not given.names:
        page.write(studies)
        findings.write(studies, page.TITLES)


if __name__ == "__main__":
    main()
