"""Measure everything, print the tables and write them to docs/engine-speed.md and .csv.

python benchmarks/speed            some ten minutes on two idle cores
python benchmarks/speed --quick    a glance at the VAE, written to a temporary folder
"""

import sys
import tempfile
import warnings
from pathlib import Path

import torch
from rich.console import Console

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # opacus installs a package `benchmarks` too, ours comes first

from benchmarks.speed import jobs, memory, scaling, summary, timing  # noqa: E402
from benchmarks.speed.cases import CASES, Case  # noqa: E402
from benchmarks.speed.tables import Table, write_csv  # noqa: E402

REPEATS = 7
IMAGES = {("UNet", "engine"): 528, ("UNet", "loop"): 144}
IMAGES |= {("VAE", "engine"): 2064, ("VAE", "loop"): 528}
GPU_BATCH = 64
Found = list[summary.Measured]


def on_cpu(cases: list[Case], repeats: int, batch: int | None, console: Console) -> Found:
    found = []
    for case in cases:
        console.log(f"{case.name}: time and memory")
        timed = timing.measure(case, repeats, batch)
        found.append((case.name, timed, memory.measure(timed, "cpu", torch.float32)))
    return found


def on_gpu(cases: list[Case], repeats: int, console: Console) -> Found:
    """The same on a GPU, where there is one: float32 and bfloat16."""
    found = []
    for case in cases if torch.cuda.is_available() else []:
        for dtype in (torch.float32, torch.bfloat16):
            label = f"{case.name}, {str(dtype).removeprefix('torch.')}"
            console.log(f"{label}, GPU: time and memory")
            timed = timing.measure(case, repeats, GPU_BATCH, "cuda", dtype)
            found.append((label, timed, memory.measure(timed, "cuda", dtype)))
    return found


def sizes(repeats: int, largest: int, console: Console) -> list[Table]:
    console.log("number of samples, size of the model")
    batches = [n for n in scaling.BATCHES if n <= largest]
    layers = [n for n in scaling.LAYERS if n <= largest]
    return [
        summary.scaling(
            "Number of samples (VAE)",
            "sample",
            scaling.over_batches(CASES["VAE"], batches, repeats, "cpu"),
        ),
        summary.scaling(
            f"Size of the model (GPT-2 of {', '.join(map(str, layers))} layers, batch of 8)",
            "million parameters",
            scaling.over_layers(layers, repeats, "cpu"),
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


def report(tables: list[Table], folder: Path, console: Console) -> None:
    lines = ["# Speed of the engine", "", f"As `make bench` wrote it. {summary.machine()}.", ""]
    for table in tables:
        table.print(console)
        lines.append(table.markdown())
    (folder / "engine-speed.md").write_text("\n".join(lines), encoding="utf-8")
    write_csv(tables, folder / "engine-speed.csv")
    console.print(f"{summary.machine()}; written to {folder}")


def full(console: Console) -> None:
    cases = list(CASES.values())
    found = on_cpu(cases, REPEATS, None, console)
    tables = [summary.speed(found, goals=True), *summary.peers(found)]
    tables += sizes(3, scaling.BATCHES[-1], console)
    tables.append(whole_jobs(IMAGES, console))
    gpu = on_gpu(cases, REPEATS, console)
    if gpu:
        more = [summary.speed(gpu, goals=False), *summary.peers(gpu)]
        for table in more:
            table.title += f" on a GPU, batch of {GPU_BATCH}"
        tables += more
    report(tables, ROOT / "docs", console)


def quick(folder: Path, console: Console) -> None:
    found = on_cpu([CASES["VAE"]], 2, 4, console)
    tables = [summary.speed(found, goals=True), *summary.peers(found)]
    tables += sizes(1, 2, console)
    tables.append(whole_jobs({("VAE", "engine"): 144, ("VAE", "loop"): 144}, console))
    report(tables, folder, console)


def main() -> None:
    import diffusers

    diffusers.logging.set_verbosity_error()
    warnings.filterwarnings("ignore", message="There is a performance drop")  # of vmap
    console = Console()
    if sys.argv[1:] == ["--quick"]:
        quick(Path(tempfile.mkdtemp()), console)
    elif sys.argv[1:]:
        sys.exit("the only option is --quick")
    else:
        full(console)


if __name__ == "__main__":
    main()
