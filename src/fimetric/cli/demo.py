"""The main job on data that ship with the dependencies: train, fit, calibrate, score, show."""

import time
from pathlib import Path

import torch
from rich.console import Console

from fimetric.data import Samples, load
from fimetric.data.codes import gaussian_bits_per_dim, png_bits_per_dim
from fimetric.detection.detector import Detector
from fimetric.detectors import DEFAULT
from fimetric.evaluation.run import Evaluation, evaluate
from fimetric.models import build
from fimetric.models import load as load_model
from fimetric.objectives import standard_objective
from fimetric.objectives.base import Objective
from fimetric.report import overview, show, write_csv
from fimetric.training import train

STEPS = 400
OOD = ("patches", "letters")
NAMES = {
    "likelihood": "likelihood",
    "typicality": "typicality",
    DEFAULT: "the default",
}


def demo(folder: Path, console: Console, seed: int = 0, steps: int = STEPS) -> Evaluation:
    """Train a small flow on handwritten digits and detect photographs and letters.

    Arguments:
        folder: where model, detector, table and picture go.
        console: what is printed.
        seed: of everything.
        steps: of training.
    """
    start = time.monotonic()
    torch.set_num_threads(1)  # on 8x8 images more threads cost more than they give
    digits, held_out = load("digits", split="train"), load("digits", split="test")
    model = build("glow", "tiny", digits.shape, seed)
    if not (folder / "model" / "model.safetensors").exists():
        console.print(f"Training a flow on {len(digits)} handwritten digits of 8x8 pixels ...")
    history = train(
        model, digits, folder / "model", steps=steps, lr=6e-3, validate_every=100, seed=seed
    )
    model = load_model(folder / "model")
    console.print(
        f"Validation: {history.best:.2f} bits per dimension; "
        f"a Gaussian per pixel needs {gaussian_bits_per_dim(digits, held_out):.2f}, "
        f"PNG {png_bits_per_dim(held_out):.2f} (mostly the headers of files so small)"
    )
    objective = standard_objective(model, seed=seed)
    found = evaluate(
        objective,
        held_out,
        {name: load(name, split="test", limit=len(held_out)) for name in OOD},
        densities=tuple(NAMES),
        folder=folder / "features",
        seed=seed,
    )
    rows = [row._replace(detector=_title(row.detector)) for row in found.rows]
    show(rows, "Held-out digits against what the flow has never seen", console)
    _say_paradox(found, console)
    write_csv(rows, folder / "table.csv")
    _draw(found, folder / "overview.png")
    _detect(objective, held_out, folder / "detector", console, seed)
    seconds = time.monotonic() - start
    console.print(f"Table: {folder / 'table.csv'}", soft_wrap=True)
    console.print(
        f"Picture: {folder / 'overview.png'}   ({seconds:.0f} seconds in all)", soft_wrap=True
    )
    return found


def _title(detector: str) -> str:
    name, _, variant = detector.partition(" ")
    return f"{NAMES[name]} {variant}".strip()


def _say_paradox(found: Evaluation, console: Console) -> None:
    """Say where the flow finds foreign data more likely than its own."""
    for row in found.rows:
        if row.detector == "likelihood" and row.group_size == 1 and row.auroc.value < 0.5:
            console.print(
                f"The paradox: the flow finds {row.ood} MORE likely than its own digits "
                f"(likelihood AUROC {row.auroc.value:.3f})"
            )


def _draw(found: Evaluation, path: Path) -> None:
    scores = {title: found.scores[1][name] for name, title in NAMES.items()}
    overview(path, found.losses, scores, found.in_distribution, "a flow trained on digits")


def _detect(
    objective: Objective, held_out: Samples, folder: Path, console: Console, seed: int
) -> None:
    """Fit the detector that a user would keep, and judge single samples by it."""
    detector = Detector(objective, seed=seed).fit(held_out)
    detector.save(folder, overwrite=folder.exists())
    for name in OOD:
        caught = detector.predict(load(name, split="train", limit=200), alpha=0.05).mean()
        console.print(f"Detector at a 5% false-alarm rate: {caught:.0%} of new {name} are caught")
    console.print(f"Detector: {folder}", soft_wrap=True)
