"""Measure every claim on every committed model and write docs/results/claims.md.

Needs FIMETRIC_DATA; about two hours on 2 cores. What is done is kept in runs/claims, so a stopped
run goes on when it is called again.
"""

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.logging import RichHandler

from fimetric.claims import CLAIMS, Finding, analyse, open_study
from fimetric.claims.page import section, write_page
from fimetric.claims.retraining import retrain
from fimetric.data import load as load_data
from fimetric.data.named import Named
from fimetric.evaluation.trained import write_model
from fimetric.models import load
from fimetric.store.files import whole_file

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RUNS = ROOT / "runs" / "claims"
PAGES = HERE / "claims"
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
    handlers = [RichHandler(show_path=False, show_time=False)]
    logging.basicConfig(level=logging.INFO, handlers=handlers, format="%(message)s")
    found = {case: measured(case) for case in CASES}
    again = retrained()
    with whole_file(HERE / "claims.md") as place:
        place.write_text("\n".join([*page(found), *retraining_lines(again)]), encoding="utf-8")


def measured(case: Case) -> list[Finding]:
    """Measure one model, and put its page and pictures beside this file."""
    folder = ROOT / "checkpoints" / case.name
    runs, pages = RUNS / case.name, PAGES / case.name
    study = open_study(folder, case.data, case.foreign, runs, Named())
    findings = analyse(study, runs, [name for name in CLAIMS if name not in case.left_out])
    shutil.rmtree(pages, ignore_errors=True)
    for finding in findings:
        (pages / finding.claim).mkdir(parents=True)
        for picture in finding.pictures:
            shutil.copy(runs / finding.claim / picture.file, pages / finding.claim)
    write_page(findings, study, pages / "claims.md")
    write_model(load(folder), study.own, pages, Console(), seed=0)
    return findings


def retrained() -> Finding:
    """Train small Glows on several representations of one set, and compare how they rank."""
    small = {"size": 16, "channels": 3}
    foreign = {name: load_data(name, "test", limit=4000, **small) for name in COLOUR}
    own = [load_data("cifar10", split, **small) for split in ("train", "test")]
    config = {"steps": 4, "levels": 2, "hidden": 48}
    folder = ROOT / "runs" / "retraining"
    finding = retrain(*own, foreign, folder, kind="glow", config=config, steps=2500)
    (PAGES / "retraining").mkdir(parents=True, exist_ok=True)
    for picture in finding.pictures:
        shutil.copy(folder / picture.file, PAGES / "retraining")
    return finding


def page(found: dict[Case, list[Finding]]) -> list[str]:
    """Return the lines of the page: verdicts first, then claim after claim."""
    by_claim = {
        name: {case: f for case, fs in found.items() for f in fs if f.claim == name}
        for name in CLAIMS
    }
    lines = [(HERE / "claims.head.md").read_text(encoding="utf-8")]
    lines += ["| claim | " + " | ".join(case.name for case in found) + " |"]
    lines += ["|---" * (1 + len(found)) + "|"]
    for name, findings in by_claim.items():
        cells = [findings[case].verdict if case in findings else "-" for case in found]
        title = next(iter(findings.values())).title
        lines.append(f"| [{title}](#{name}) | " + " | ".join(cells) + " |")
    lines += ["", "How well each model is trained, and all its tables:", ""]
    for case in found:
        trained = (PAGES / case.name / "model.md").read_text(encoding="utf-8").strip()
        lines.append(f"- [{case.name}](claims/{case.name}/claims.md): {trained}")
    for name, findings in by_claim.items():
        lines += claim_lines(name, findings)
    return lines


def claim_lines(name: str, findings: dict[Case, Finding]) -> list[str]:
    """Return what was found about one claim, and the pictures of the first model."""
    first, shown = next(iter(findings.items()))
    lines = ["", f"## {name}", "", f"{shown.title}.", ""]
    lines += [f"- {case.name}: **{f.verdict}**. {f.because}" for case, f in findings.items()]
    for picture in shown.pictures:
        where = f"claims/{first.name}/{name}/{picture.file}"
        lines += ["", f"![{picture.caption}]({where})", "", f"{first.name}. {picture.caption}"]
    return lines


def retraining_lines(finding: Finding) -> list[str]:
    """Return the section on retrained models, which are none of the committed ones."""
    intro = "Six small Glows (16x16 cifar10 against gtsrb and tiny_imagenet32), trained for this:"
    return [
        "",
        *section(finding, "claims/retraining")[:2],
        intro,
        *section(finding, "claims/retraining")[1:],
    ]


if __name__ == "__main__":
    main()
