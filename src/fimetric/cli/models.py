"""Commands on one model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fimetric.cli.gathering import gathered
from fimetric.cli.options import (
    Again,
    Alpha,
    Asked,
    BatchSize,
    Channels,
    Column,
    Confidence,
    Data,
    Device,
    Group,
    Kind,
    Limit,
    LossParts,
    Out,
    Part,
    Rate,
    Seed,
    Size,
    Split,
    counted,
    named,
    positive,
)
from fimetric.detectors import DEFAULT
from fimetric.extraction.loss_parts import FREE


def demo(out: Out = Path("fimetric-demo"), seed: Seed = 0) -> None:
    """Train, fit and score on data that come with the dependencies, within two minutes."""
    from fimetric.cli.demo import demo as run
    from fimetric.store.folders import new_folder

    run(new_folder(out), Console(), seed)


def train(
    kind: Kind,
    data: Data,
    out: Out,
    config: Annotated[
        str, typer.Option(help="tiny, small, paper, or what else the kind has.")
    ] = "small",
    split: Split = "train",
    steps: Annotated[int, typer.Option(callback=counted, help="Optimiser steps in all.")] = 5000,
    batch_size: BatchSize = None,
    lr: Annotated[float | None, typer.Option(callback=positive, help="Learning rate.")] = None,
    validate_every: Annotated[
        int | None, typer.Option(callback=counted, help="Steps between validations.")
    ] = None,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    column: Column = None,
    rate: Rate = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a reference model; called again, it goes on from the last checkpoint."""
    from fimetric.data.named import Named
    from fimetric.models import build_for
    from fimetric.models.devices import known_device
    from fimetric.store.folders import new_folder
    from fimetric.training import train as run

    new_folder(out, data)
    place = known_device(device)
    samples = Named(split, limit, size, channels, column, rate).open(data)
    model = build_for(kind, config, samples, seed)
    history = run(
        model,
        samples,
        out,
        steps=steps,
        batch_size=batch_size,
        lr=lr,
        validate_every=validate_every,
        seed=seed,
        device=place,
    )
    typer.echo(f"{out}: {history.best:.3f} bits per {model.UNIT} on validation data")


@gathered
def extract(
    asked: Asked,
    data: Data,
    out: Out,
    part: Part,
    group_size: Group = 1,
    batch_size: BatchSize = None,
    parts: LossParts = FREE,
    gradient: Annotated[
        bool, typer.Option("--gradient/--no-gradient", help="Measure norms, or losses alone.")
    ] = True,
) -> None:
    """Write the gradient norms of a data set; called again, it goes on where it was stopped."""
    from fimetric import extract as run
    from fimetric.store.folders import new_folder

    new_folder(out, data)
    objective = asked.objective()
    samples = part.named(objective.condition).open(data, objective.opened.shape)
    features = run(
        objective,
        samples,
        batch_size,
        group_size,
        out,
        parts=parts,
        gradient=gradient,
    )
    typer.echo(f"{out}: {features!r}")


@gathered
def fit(
    asked: Asked,
    data: Data,
    out: Out,
    part: Part,
    density: Annotated[
        str, typer.Option(help="default, cheap, best, or the name of a density.")
    ] = DEFAULT,
    group_size: Group = 1,
    batch_size: BatchSize = None,
    prefixes: Annotated[
        bool, typer.Option("--prefixes", help="Fit on beginnings of texts or clips, too.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a detector.")] = False,
) -> None:
    """Fit a detector on data that the model was not trained on; called again, it goes on."""
    from fimetric import Detector
    from fimetric.detection.fitting import check_target, fit_into
    from fimetric.detection.opening import open_table
    from fimetric.detectors import create
    from fimetric.store.folders import new_folder

    check_target(new_folder(out, data), overwrite)
    objective = asked.objective()
    detector = Detector(objective, create(density), group_size, asked.seed)
    table = open_table(part.named(objective.condition), data, objective.opened.shape)
    fit_into(detector, table, out, batch_size, overwrite, prefixes)
    known = detector.calibration
    smallest = round(1 / known.smallest_p)  # of the smallest bin, where there are bins of length
    typer.echo(f"{out}: calibrated on {len(known)} groups; the smallest p-value is 1/{smallest}")


@gathered
def score(
    detector: Annotated[
        Path,
        typer.Argument(
            parser=named, metavar="DETECTOR", help="Folder of a detector, as `fit` writes it."
        ),
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option("--out", parser=named, metavar="PATH", help="A .csv or .parquet file."),
    ],
    again: Again,
    part: Part,
    alpha: Alpha = 0.05,
    confidence: Confidence = None,
    batch_size: BatchSize = None,
) -> None:
    """Write sample id, score, p-value and decision of every sample or group."""
    from fimetric.detection.opening import open_table
    from fimetric.detection.scoring import check_target, write_scores

    check_target(out)
    loaded, shape = again.detector(detector)
    loaded.calibration.refuse(alpha, confidence)
    table = open_table(part.named(loaded.objective.condition), data, shape)
    groups, alarms = write_scores(loaded, table, out, alpha, confidence, batch_size)
    typer.echo(f"{out}: {alarms} of {groups} out of distribution at alpha = {alpha}")
