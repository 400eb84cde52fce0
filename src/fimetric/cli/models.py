"""Commands on one model."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from fimetric.cli.options import (
    Alpha,
    BatchSize,
    Channels,
    Confidence,
    Data,
    Device,
    Draws,
    Group,
    Kind,
    Limit,
    ModelFolder,
    Out,
    Seed,
    Size,
    Split,
    Times,
    counted,
    named,
    positive,
    timesteps_of,
)
from fimetric.detectors import DEFAULT


def demo(out: Out = Path("fimetric-demo"), seed: Seed = 0) -> None:
    """Train, fit and score on data that come with the dependencies, within two minutes."""
    from fimetric.cli.demo import demo as run
    from fimetric.store.folders import new_folder

    run(new_folder(out), Console(), seed)


def train(
    kind: Kind,
    data: Data,
    out: Out,
    config: Annotated[str, typer.Option(help="tiny, small or paper.")] = "small",
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
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a reference model; called again, it goes on from the last checkpoint."""
    from fimetric.data.named import Named
    from fimetric.models import build
    from fimetric.models.devices import known_device
    from fimetric.store.folders import new_folder
    from fimetric.training import train as run

    new_folder(out, data)
    place = known_device(device)
    samples = Named(split, limit, size, channels).open(data)
    model = build(kind, config, samples.shape, seed)
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
    typer.echo(f"{out}: {history.best:.3f} bits per dimension on validation data")


def extract(
    model: ModelFolder,
    data: Data,
    out: Out,
    split: Split = "test",
    group_size: Group = 1,
    batch_size: BatchSize = None,
    timesteps: Times = None,
    draws: Draws = 1,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Write the gradient norms of a data set; called again, it goes on where it was stopped."""
    from fimetric import extract as run
    from fimetric.data.named import Named
    from fimetric.detection.opening import open_objective
    from fimetric.store.folders import new_folder

    new_folder(out, data)
    objective, shape = open_objective(model, device, timesteps_of(timesteps), draws, seed)
    samples = Named(split, limit, size, channels).open(data, shape)
    features = run(objective, samples, batch_size, group_size, out)
    typer.echo(f"{out}: {features!r}")


def fit(
    model: ModelFolder,
    data: Data,
    out: Out,
    density: Annotated[str, typer.Option(help="Density of the norms.")] = DEFAULT,
    split: Split = "test",
    group_size: Group = 1,
    batch_size: BatchSize = None,
    timesteps: Times = None,
    draws: Draws = 1,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a detector.")] = False,
) -> None:
    """Fit a detector on data that the model was not trained on; called again, it goes on."""
    from fimetric import Detector
    from fimetric.data.named import Named
    from fimetric.detection.fitting import check_target, fit_into
    from fimetric.detection.opening import open_objective, open_table
    from fimetric.detectors import create
    from fimetric.store.folders import new_folder

    check_target(new_folder(out, data), overwrite)
    objective, shape = open_objective(model, device, timesteps_of(timesteps), draws, seed)
    detector = Detector(objective, create(density), group_size, seed)
    table = open_table(Named(split, limit, size, channels), data, shape)
    fit_into(detector, table, out, batch_size, overwrite)
    n = len(detector.calibration)
    typer.echo(f"{out}: calibrated on {n} groups; the smallest p-value is 1/{n + 1}")


def score(
    detector: Annotated[
        Path,
        typer.Argument(
            parser=named, metavar="DETECTOR", help="Folder of a detector, as `fit` writes it."
        ),
    ],
    model: Annotated[
        Path,
        typer.Option(parser=named, metavar="PATH", help="Folder of the model it was fitted with."),
    ],
    data: Data,
    out: Annotated[
        Path,
        typer.Option("--out", parser=named, metavar="PATH", help="A .csv or .parquet file."),
    ],
    split: Split = "test",
    alpha: Alpha = 0.05,
    confidence: Confidence = None,
    batch_size: BatchSize = None,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    device: Device = "cpu",
) -> None:
    """Write sample id, score, p-value and decision of every sample or group."""
    from fimetric.data.named import Named
    from fimetric.detection.opening import open_detector, open_table
    from fimetric.detection.scoring import check_target, write_scores

    check_target(out)
    loaded, shape = open_detector(detector, model, device)
    loaded.calibration.refuse(alpha, confidence)
    table = open_table(Named(split, limit, size, channels), data, shape)
    groups, alarms = write_scores(loaded, table, out, alpha, confidence, batch_size)
    typer.echo(f"{out}: {alarms} of {groups} out of distribution at alpha = {alpha}")
