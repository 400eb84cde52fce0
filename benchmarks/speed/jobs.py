"""Whole jobs: from a file of images to the scores in a CSV file, and where the time goes.

    python -m benchmarks.speed.jobs engine|loop FOLDER N

does one of them on what ``prepare`` left in the folder, and prints the seconds as JSON. A job is a
process of its own, as it is for who calls the command line; what its parts do not explain, above
all the imports, is its start.
"""

import csv
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

import fimetric as fm
from fimetric.cli import models
from fimetric.data.named import Named
from fimetric.detection import opening, scoring
from fimetric.extraction import memory
from fimetric.extraction.loss_parts import FREE, loss_parts
from fimetric.gradients.reference import squared_gradient_norms

ROOT = Path(__file__).parents[2]
MODELS: dict[str, tuple[str, Any]] = {  # those of the table of times, as the command line has them
    "UNet": ("diffusion", fm.models.DiffusionConfig(channels=(32, 64, 128), layers=2)),
    "VAE": ("vae", "small"),
}
TARGET = 10_000
FITTED = 64  # images to fit the detector on: scores need one, whatever it is worth
PARTS = ("reading", "forward", "norms", "density", "writing", "the rest")
BATCH = memory.MOST  # what scoring takes where memory allows
ALPHA = 0.05


@dataclass(frozen=True)
class Job:
    """Seconds of one job over n images."""

    model: str
    how: str
    images: int
    start: float  # of the process: imports
    once: dict[str, float]  # opening, the first batch, and the smaller last one
    rest: dict[str, float]  # all other batches

    def scaled(self, part: str) -> float:
        """Return the seconds of a part at 10,000 images: what is done once counts once."""
        once = BATCH + self.images % BATCH
        return self.once[part] + self.rest[part] * (TARGET - once) / (self.images - once)

    @property
    def total(self) -> float:
        return self.start + sum(self.scaled(part) for part in PARTS)


def prepare(model: str, folder: Path, images: int) -> None:
    """Write a model, a detector and a file of images."""
    kind, config = MODELS[model]
    built = fm.models.build(kind, config, (3, 32, 32)).eval()
    fm.models.save(built, folder / "model")
    random = np.random.default_rng(0)
    np.save(folder / "images.npy", random.integers(0, 256, (images, 32, 32, 3), np.uint8))
    objective = fm.objectives.standard_objective(built)
    features = fm.extract(objective, torch.rand(FITTED, 3, 32, 32), folder=folder / "features")
    fm.Detector(objective).fit(features).save(folder / "detector")


def run(model: str, how: str, folder: Path, images: int) -> Job:
    """Do a job; at least two full batches, and a smaller one as the 10,000 images leave it."""
    if images // BATCH < 2 or images % BATCH != TARGET % BATCH:
        raise ValueError(f"{images} images are not like {TARGET}: take 144, 208, ...")
    command = [sys.executable, "-m", "benchmarks.speed.jobs", how, str(folder), str(images)]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    whole = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(f"the job {' '.join(command[1:])} failed: {done.stderr[-2000:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    start = whole - sum(found["once"].values()) - sum(found["rest"].values())
    return Job(model, how, images, start, **found)


class Clock:
    """Seconds by part, which do not overlap, of what is done once and of the batches between.

    The first batch and the last, which is smaller, have sizes that the engine has not seen; both
    count once, whatever the number of images.
    """

    def __init__(self, images: int) -> None:
        self.once, self.rest = dict.fromkeys(PARTS, 0.0), dict.fromkeys(PARTS, 0.0)
        self._spent: dict[str, float] = self.once
        self._full, self._done = images // BATCH, 0
        self._now, self._began = PARTS[-1], time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        outer = self._switch(name)
        try:
            yield
        finally:
            self._switch(outer)

    def batch_is_done(self) -> None:
        self._switch(self._now)
        self._done += 1
        self._spent = self.rest if self._done < self._full else self.once

    def _switch(self, name: str) -> str:
        now, before = time.perf_counter(), self._now
        self._spent[before] += now - self._began
        self._now, self._began = name, now
        return before

    def report(self) -> str:
        self._switch(self._now)
        return json.dumps({"once": self.once, "rest": self.rest})


def engine_job(folder: Path, images: int, clock: Clock) -> None:
    """Call the command line's ``score``, with a clock in the functions that it goes through."""
    with ExitStack() as stack:

        def timed(owner: object, name: str, part: str) -> None:
            stack.enter_context(patch.object(owner, name, _timed(owner, name, part, clock)))

        timed(opening, "open_detector", "reading")
        timed(opening, "open_table", "reading")
        timed(fm.objectives.Objective, "losses", "forward")
        for name in ("__call__", "measure"):
            timed(fm.GradientNorms, name, "norms")
        timed(scoring, "_judge", "density")
        stack.enter_context(patch.object(scoring, "WRITERS", _stopping(scoring.WRITERS, clock)))
        models.score(
            detector=folder / "detector",
            model=str(folder / "model"),
            data=str(folder / "images.npy"),
            out=folder / "engine.csv",
            limit=images,
        )


def loop_job(folder: Path, images: int, clock: Clock) -> None:
    """Do the same with one forward and one backward pass per image."""
    with clock.part("reading"):
        detector, shape = opening.open_detector(folder / "detector", folder / "model")
        samples = Named(limit=images).open(str(folder / "images.npy"), shape)
        known = fm.Features.load(folder / "features")  # names and bounds, which no loop knows
    with (folder / "loop.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(scoring.COLUMNS)
        for k in range(0, images, BATCH):
            part = samples.select(range(k, min(k + BATCH, images)))
            table, losses = _one_by_one(detector.objective, part.tensor(), clock)
            with clock.part("forward"):
                parts = loss_parts(detector.objective, part.tensor(), FREE)[1]
            with clock.part("density"):
                sizes = known.dimensions[: len(losses)]
                features = replace(
                    known,
                    values=table,
                    losses=losses,
                    parts=parts,
                    dimensions=sizes,
                    ids=tuple(part.ids),
                )
                rows = scoring._judge(detector, features, ALPHA, None)
            with clock.part("writing"):
                writer.writerows(rows)
            clock.batch_is_done()


def _one_by_one(
    objective: fm.objectives.Objective, x: Tensor, clock: Clock
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log squared norms (N, J) and the losses (N, 1)."""
    (view,) = objective.views()
    losses: list[float] = []

    def loss(one: Tensor) -> Tensor:
        with clock.part("forward"):
            found = objective.losses(view, one)
        losses.append(float(found))
        return found

    with clock.part("norms"):
        parameters = [p for p in objective.module.parameters() if p.requires_grad]
        table = squared_gradient_norms(loss, x.split(1), parameters)
    return table.double().log().numpy(), np.array(losses)[:, None]


def agree(folder: Path) -> None:
    """Raise where the two jobs do not give the same scores to the same images.

    A score adds up hundreds of terms of both signs, so rounding errors are small next to what
    scores differ by between images, not next to a score that happens to be near zero.
    """
    tables = []
    for how in JOBS:
        with (folder / f"{how}.csv").open(newline="", encoding="utf-8") as file:
            tables.append([(row["id"], float(row["score"])) for row in csv.DictReader(file)])
    pairs = list(zip(*tables, strict=False))  # the loop may have done fewer
    allowed = 0.05 * np.std([score for (_, score), _ in pairs])
    for (a, score), (b, other) in pairs:
        if a != b or abs(score - other) > allowed:
            raise RuntimeError(f"the jobs disagree: {score} for {a}, {other} for {b}")


def _timed(owner: object, name: str, part: str, clock: Clock) -> Callable[..., Any]:
    inner = getattr(owner, name)

    def outer(*args: Any, **kwargs: Any) -> Any:
        with clock.part(part):
            return inner(*args, **kwargs)

    return outer


def _stopping(writers: dict[str, Any], clock: Clock) -> dict[str, Any]:
    """Return the writers, such that the clock learns of every batch that is written."""

    @contextmanager
    def open_csv(path: Path) -> Iterator[Callable[[Any], None]]:
        with writers[".csv"](path) as write:

            def noted(rows: Any) -> None:
                with clock.part("writing"):
                    write(rows)
                clock.batch_is_done()

            yield noted

    return {**writers, ".csv": open_csv}


JOBS = {"engine": engine_job, "loop": loop_job}


def main(how: str, folder: str, images: str) -> None:
    logging.disable()
    clock = Clock(int(images))
    JOBS[how](Path(folder), int(images), clock)
    print(clock.report())


if __name__ == "__main__":
    main(*sys.argv[1:])
