"""Commands that compare models, sets or methods."""

from dataclasses import replace
from typing import Annotated

import typer
from rich.console import Console

from fimetric.cli.gathering import gathered
from fimetric.cli.options import (
    DATA_HELP,
    Asked,
    BatchSize,
    Channels,
    Data,
    Device,
    Groups,
    Kind,
    Model,
    Out,
    Part,
    Seed,
    Size,
    Split,
    Times,
    counted,
    timesteps_of,
)

LEFT_OUT = (
    "Left out: samples of the model, and its bits per dimension, which are drawn and measured of "
    "models alone that fimetric has trained"
)


@gathered
def evaluate(
    asked: Asked,
    data: Annotated[str, typer.Option("--id", help=f"In-distribution data. {DATA_HELP}")],
    ood: Annotated[list[str], typer.Option(help="Out-of-distribution data; may be repeated.")],
    out: Out,
    part: Part,
    group_size: Groups = [1, 5],  # noqa: B006
    density: Annotated[list[str] | None, typer.Option(help="May be repeated; all if none.")] = None,
    batch_size: BatchSize = None,
) -> None:
    """Print AUROC, AUPR and FPR of every detector on every OOD set, and draw them."""
    from fimetric.detectors import OF_ANY_TABLE
    from fimetric.evaluation.page import write_evaluation
    from fimetric.evaluation.run import evaluate as run
    from fimetric.evaluation.trained import write_model
    from fimetric.models import load
    from fimetric.objectives.pretrained.own import LOADER
    from fimetric.store.folders import new_folder

    new_folder(out, data, *ood)
    objective = asked.objective()
    shape, named = objective.opened.shape, part.named(objective.condition)
    own = named.open(data, shape)
    found = run(
        objective,
        own,
        named.open_all(ood, shape),
        group_size,
        density or OF_ANY_TABLE,
        out / "features",
        asked.seed,
        batch_size,
    )
    console = Console()
    if objective.opened.kind == LOADER.kind:
        write_model(load(asked.model).to(asked.device), own, out, console, asked.seed)
    else:
        console.print(LEFT_OUT)
    write_evaluation(found, objective, out, console)


def analyse(
    model: Model,
    data: Annotated[str, typer.Option("--data", help=f"In-distribution data. {DATA_HELP}")],
    out: Out,
    ood: Annotated[list[str] | None, typer.Option(help="Foreign data; may be repeated.")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="May be repeated; all if none.")] = None,
    split: Split = "test",
    samples: Annotated[int, typer.Option(help="Samples of each set, and of the model.")] = 1000,
    timesteps: Times = None,
    batch_size: BatchSize = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Ask of a model whether the method's assumptions hold; called again, it goes on."""
    from fimetric.claims import analyse as run
    from fimetric.claims import kept, open_study, select
    from fimetric.claims.page import write_page
    from fimetric.data.named import Named
    from fimetric.store.folders import new_folder

    new_folder(out, data, *(ood or []))
    select(claim)  # refuses an unknown one before the work
    part = Named(split, None, size, channels)
    times = timesteps_of(timesteps)
    batch = batch_size or 64
    study = open_study(model, data, ood or [], out, part, device, times, samples, seed, batch)
    findings = run(study, out, claim)
    write_page(kept(study, out), study, out / "claims.md")
    for finding in findings:
        typer.echo(f"{finding.verdict:14} {finding.title}. {finding.because}")
    typer.echo(f"{out / 'claims.md'}: tables and pictures")


def benchmark(
    config: Annotated[str, typer.Argument(help="A TOML file, or a tier: smoke, cpu, paper.")],
    out: Out,
    jobs: Annotated[
        int | None, typer.Option(callback=counted, help="Processes; one a core if left out.")
    ] = None,
    train_only: Annotated[bool, typer.Option("--train-only", help="Score nothing yet.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, ...; that of the file.")] = None,
) -> None:
    """Compare all methods on a grid of models and data; called again, it goes on."""
    from fimetric.benchmark.config import read
    from fimetric.benchmark.run import run
    from fimetric.benchmark.run import train as train_all
    from fimetric.benchmark.writing import write
    from fimetric.store.folders import new_folder

    grid = read(config)
    grid = grid if device is None else replace(grid, device=device)
    if train_only:
        train_all(grid, new_folder(out), jobs)
        return
    found = run(grid, new_folder(out), jobs)
    tables = write(found, grid, out)
    typer.echo(
        f"{tables}: {len(found.comparisons)} comparisons; {out / 'benchmark.html'} shows all"
    )


def retrain(
    kind: Kind,
    data: Data,
    ood: Annotated[list[str], typer.Option(help="Foreign data; may be repeated.")],
    out: Out,
    config: Annotated[str, typer.Option(help="tiny, small or paper.")] = "tiny",
    steps: Annotated[
        int, typer.Option(callback=counted, help="Optimiser steps of each training.")
    ] = 2500,
    batch_size: BatchSize = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
) -> None:
    """Train a model on each representation of the data, and compare how they rank samples."""
    from fimetric.claims.page import write_finding
    from fimetric.claims.retraining import retrain as run
    from fimetric.data.named import Named
    from fimetric.store.folders import new_folder

    new_folder(out, data, *ood)
    own = {split: Named(split, None, size, channels).open(data) for split in ("train", "test")}
    foreign = Named("test", None, size, channels).open_all(ood, own["train"].shape)
    finding = run(
        own["train"],
        own["test"],
        foreign,
        out,
        kind=kind,
        config=config,
        steps=steps,
        batch_size=batch_size or 64,
        seed=seed,
    )
    write_finding(finding, out / "retraining.md")
    typer.echo(f"{finding.verdict:14} {finding.title}. {finding.because}")
    typer.echo(f"{out / 'retraining.md'}: tables and pictures")
