"""Measure the claims on the committed models, record the findings and write docs/results/claims.md.

    python docs/results/claims.py                     # all, about two hours on 2 cores
    python docs/results/claims.py fashion_mnist-vae   # this one; the others stay as recorded
    python docs/results/claims.py --page              # nothing is measured, the pages are written

Needs FIMETRIC_DATA. What is done is kept in runs/claims, so a stopped run goes on when it is called
again.
"""

import argparse
import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from claims_page import HERE, PAGES, RETRAINED, write_pages
from rich.console import Console
from rich.logging import RichHandler

from fimetric.claims import CLAIMS, Finding, analyse, open_study
from fimetric.claims.retraining import retrain
from fimetric.claims.study import CRITERIA
from fimetric.data import load as load_data
from fimetric.data.named import Named
from fimetric.evaluation.trained import write_model
from fimetric.models import load

ROOT = HERE.parent.parent
RUNS = ROOT / "runs" / "claims"
GREY, COLOUR = ("mnist", "omniglot", "lfw_faces_grey"), ("gtsrb", "tiny_imagenet32")


@dataclass(frozen=True)
class Case:
    """A committed model and the data that it is measured on."""

    data: str
    kind: str
    foreign: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.data}-{self.kind}"


CASES = (
    Case("fashion_mnist", "vae", GREY),
    Case("fashion_mnist", "glow", GREY),
    Case("fashion_mnist", "diffusion", GREY),
    Case("cifar10", "glow", COLOUR, left_out=("metric",)),  # not measured yet
    Case("cifar10", "diffusion", COLOUR, left_out=("timesteps",)),  # grey sets tell it
)


def main() -> None:
    measures: dict[str, Callable[[], None]] = {c.name: partial(measure, c) for c in CASES}
    measures[RETRAINED] = measure_retrained
    parser = argparse.ArgumentParser(description="Measure the claims on the committed models.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(measures)}")
    parser.add_argument("--page", action="store_true", help="measure nothing, write the pages")
    given = parser.parse_args()
    for name in given.names:
        if name not in measures:
            parser.error(f"there is no {name!r}; there are {', '.join(measures)}")
    handlers = [RichHandler(show_path=False, show_time=False)]
    logging.basicConfig(level=logging.INFO, handlers=handlers, format="%(message)s")
    for name in [] if given.page else given.names or measures:
        measures[name]()
    write_pages([case.name for case in CASES])


def measure(case: Case) -> None:
    """Measure one model, and record what was found with its pictures."""
    folder = ROOT / "checkpoints" / case.name
    runs, pages = RUNS / case.name, PAGES / case.name
    study = open_study(folder, case.data, case.foreign, runs, Named())
    findings = analyse(study, runs, [name for name in CLAIMS if name not in case.left_out])
    shutil.rmtree(pages, ignore_errors=True)
    for finding in findings:
        (pages / finding.claim).mkdir(parents=True)
        shutil.copy(runs / finding.claim / "finding.json", pages / finding.claim)
        copy_pictures(finding, runs / finding.claim, pages / finding.claim)
    write_model(load(folder), study.own, pages, Console(), seed=0)


def measure_retrained() -> None:
    """Train small Glows on several representations of one set, and compare how they rank."""
    small = {"size": 16, "channels": 3}
    foreign = {name: load_data(name, "test", limit=4000, **small) for name in COLOUR}
    own = [load_data("cifar10", split, **small) for split in ("train", "test")]
    config = {"steps": 4, "levels": 2, "hidden": 48}
    folder, page = ROOT / "runs" / RETRAINED, PAGES / RETRAINED
    finding = retrain(*own, foreign, folder, kind="glow", config=config, steps=2500)
    page.mkdir(parents=True, exist_ok=True)
    finding.write(page / "finding.json", {"criteria": CRITERIA})
    copy_pictures(finding, folder, page)


def copy_pictures(finding: Finding, source: Path, target: Path) -> None:
    for picture in finding.pictures:
        shutil.copy(source / picture.file, target)


if __name__ == "__main__":
    main()
