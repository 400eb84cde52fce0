"""Measure everything, print the tables and write them to docs/*-speed.md and .csv.

python benchmarks/speed             some twenty minutes on two idle cores
python benchmarks/speed --clipping  clipped sums alone: docs/clipping-speed.md and .csv
python benchmarks/speed --presets   the presets of detectors alone: docs/presets-speed.md and .csv
python benchmarks/speed --quick     a glance at the VAE, written to a temporary folder
"""

import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.markup import escape

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # opacus installs a package `benchmarks` too, ours comes first

from benchmarks.speed import (  # noqa: E402
    clipping,
    first_calls,
    fitting,
    forms,
    full_size,
    jobs,
    memory,
    presets,
    scaling,
    summary,
    timing,
)
from benchmarks.speed.cases import CASES, Case, quieten  # noqa: E402
from benchmarks.speed.machine import machine  # noqa: E402
from benchmarks.speed.tables import Table, write_csv  # noqa: E402
from fimetric.gradients.cache import FOLDER  # noqa: E402

REPEATS = 5
IMAGES = {("UNet", "engine"): 336, ("UNet", "loop"): 144}
IMAGES |= {("VAE", "engine"): 2064, ("VAE", "loop"): 528}
Found = list[summary.Measured]


def on_cpu(cases: list[Case], repeats: int, batch: int | None, console: Console) -> Found:
    found = []
    for case in cases:
        console.log(f"{case.name}: time and memory")
        timed = timing.measure(case, repeats, batch)
        log_ratios(timed, console)
        found.append((case.name, timed, memory.measure(timed)))
    return found


def log_ratios(timed: timing.Timed, console: Console) -> None:
    """Say at once what was found: the tables come minutes later."""
    for name, entry in timed.methods.items():
        console.log(f"  {name}: {escape(str(entry.ratio or entry.fault))}")


def sizes(repeats: int, largest: int, console: Console) -> list[Table]:
    console.log("number of samples, size of the model")
    batches = [n for n in scaling.BATCHES if n <= largest]
    layers = [n for n in scaling.LAYERS if n <= largest]
    return [
        summary.scaling(
            "Number of samples (VAE)",
            "sample",
            scaling.over_batches(CASES["VAE"], batches, repeats),
        ),
        summary.scaling(
            f"Size of the model (GPT-2 of {', '.join(map(str, layers))} layers, batch of 8)",
            "million parameters",
            scaling.over_layers(layers, repeats),
        ),
    ]


def whole_jobs(images: dict[tuple[str, str], int], console: Console) -> Table:
    found = []
    for model in dict.fromkeys(model for model, _ in images):
        console.log(f"{model}: whole jobs")
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            hows = {how: n for (name, how), n in images.items() if name == model}
            jobs.prepare(model, folder, max(hows.values()))
            found += [jobs.run(model, how, folder, n) for how, n in hows.items()]
            jobs.agree(folder)
    return summary.jobs(found)


class Report:
    """Tables, printed and written as they come, since a later measurement may fail."""

    def __init__(self, console: Console, folder: Path, of: str = "engine") -> None:
        self.console, self.folder, self.of, self.tables = console, folder, of, list[Table]()

    def add(self, *tables: Table) -> None:
        self.tables += tables
        for table in tables:
            table.print(self.console)
        lines = [f"# Speed of the {self.of}", "", f"As `make bench` wrote it. {machine()}.", ""]
        lines += [table.markdown() for table in self.tables]
        (self.folder / f"{self.of}-speed.md").write_text("\n".join(lines), encoding="utf-8")
        write_csv(self.tables, self.folder / f"{self.of}-speed.csv")
        self.console.print(f"{machine()}; written to {self.folder}")


def full(console: Console, folder: Path = ROOT / "docs", repeats: int = REPEATS) -> None:
    cases, report = list(CASES.values()), Report(console, folder)
    found = on_cpu(cases, repeats, None, console)
    report.add(summary.speed(found), *summary.peers(found))
    console.log("first calls, other sizes, streams")
    report.add(first_calls.calls(3), first_calls.split(CASES["UNet"]), first_calls.streams())
    console.log("fit and score")
    report.add(fitting.measure())
    console.log("forms of a layer's norms")
    report.add(forms.measure(repeats))
    report.add(*sizes(min(repeats, 3), scaling.BATCHES[-1], console))
    console.log(f"{full_size.SMALL.name}: time and memory")
    report.add(full_size.measure(min(repeats, 3)))
    report.add(whole_jobs(IMAGES, console))
    clipped(console, folder, repeats)
    compared(console, folder, repeats)


def clipped(console: Console, folder: Path = ROOT / "docs", repeats: int = REPEATS) -> None:
    report = Report(console, folder, "clipping")
    report.add(clipping.measure(repeats, console.log))


def compared(console: Console, folder: Path = ROOT / "docs", repeats: int = REPEATS) -> None:
    report = Report(console, folder, "presets")
    report.add(presets.measure(repeats, console.log))


def quick(console: Console, folder: Path) -> None:
    report = Report(console, folder)
    found = on_cpu([CASES["VAE"]], 2, 4, console)
    report.add(summary.speed(found), *summary.peers(found))
    report.add(first_calls.calls(1, {"VAE": replace(CASES["VAE"], batch=4)}))
    report.add(first_calls.split(CASES["VAE"]), first_calls.streams((2, 4), 2))
    report.add(*sizes(1, 2, console))
    report.add(whole_jobs({("VAE", "engine"): 144, ("VAE", "loop"): 144}, console))


def main() -> None:
    quieten()
    os.environ[FOLDER] = ""  # a first call is to know nothing of an earlier process
    console = Console()
    whole = {
        (): full,
        ("--quick",): lambda console: quick(console, Path(tempfile.mkdtemp())),
        ("--clipping",): clipped,
        ("--presets",): compared,
    }
    work = whole.get(tuple(sys.argv[1:]))
    if work is None:
        sys.exit("the only options are --quick, --clipping and --presets, one at a time")
    work(console)


if __name__ == "__main__":
    main()
