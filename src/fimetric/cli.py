"""The command line: reading arguments, one call each."""

import logging
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from typer.core import TyperGroup

from fimetric.options import (
    DATA_HELP,
    Alpha,
    Batch,
    Channels,
    Confidence,
    Data,
    Device,
    Draws,
    Group,
    Limit,
    ModelFolder,
    Out,
    Seed,
    Size,
    Split,
    Times,
)


class Commands(TyperGroup):
    """Creates the commands; an error in one ends in one line and a status of 1, Ctrl-C in 130."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort):  # RuntimeErrors by class, but none of ours
            raise
        except KeyboardInterrupt:
            _stop("stopped; what was done is kept, the same call goes on from there", 130)
        except BrokenPipeError:
            raise  # whoever read our output has left; typer ends in silence
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            _stop(f"error: {' '.join(str(error).split()) or type(error).__name__}", 1)


def _stop(message: str, status: int) -> None:
    typer.echo(message, err=True)
    raise typer.Exit(status)


app = typer.Typer(
    cls=Commands,
    help="Out-of-distribution detection with deep generative models, by gradient norms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def demo(out: Out = Path("fimetric-demo"), seed: Seed = 0) -> None:
    """Train, fit and score on data that come with the dependencies, within two minutes."""
    from fimetric.demo import demo as run
    from fimetric.inputs import new_folder

    run(new_folder(out), Console(), seed)


@app.command()
def train(
    kind: Annotated[str, typer.Argument(help="vae, glow or diffusion.")],
    data: Data,
    out: Out,
    config: Annotated[str, typer.Option(help="tiny, small or paper.")] = "small",
    split: Split = "train",
    steps: Annotated[int, typer.Option(help="Optimiser steps in all.")] = 5000,
    batch_size: Batch = 64,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    validate_every: Annotated[int | None, typer.Option(help="Steps between validations.")] = None,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a reference model; called again, it goes on from the last checkpoint."""
    from fimetric.inputs import Named, known_device, new_folder
    from fimetric.models import build
    from fimetric.training import train as run

    new_folder(out)
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


@app.command()
def extract(
    model: ModelFolder,
    data: Data,
    out: Out,
    split: Split = "test",
    group_size: Group = 1,
    batch_size: Batch = 64,
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
    from fimetric.inputs import Named, new_folder, open_objective

    new_folder(out)
    objective, shape = open_objective(model, device, _times(timesteps), draws, seed)
    samples = Named(split, limit, size, channels).open(data, shape)
    features = run(objective, samples, batch_size, group_size, out)
    typer.echo(f"{out}: {features!r}")


@app.command()
def fit(
    model: ModelFolder,
    data: Data,
    out: Out,
    density: Annotated[str, typer.Option(help="Density of the norms.")] = "nearest-neighbours",
    split: Split = "test",
    group_size: Group = 1,
    timesteps: Times = None,
    draws: Draws = 1,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a detector.")] = False,
) -> None:
    """Fit and calibrate a detector on in-distribution data that the model was not trained on."""
    from fimetric import Detector
    from fimetric.detectors import create
    from fimetric.inputs import Named, new_folder, open_objective

    if new_folder(out).exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; pass --overwrite to replace it")
    objective, shape = open_objective(model, device, _times(timesteps), draws, seed)
    detector = Detector(objective, create(density), group_size, seed)
    table = Named(split, limit, size, channels).open_table(data, shape)
    detector.fit(table).save(out, overwrite)
    n = len(detector.calibration)
    typer.echo(f"{out}: calibrated on {n} groups; the smallest p-value is 1/{n + 1}")


@app.command()
def score(
    detector: Annotated[Path, typer.Argument(help="Folder of a detector, as `fit` writes it.")],
    model: Annotated[Path, typer.Option(help="Folder of the model it was fitted with.")],
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="A .csv or .parquet file.")],
    split: Split = "test",
    alpha: Alpha = 0.05,
    confidence: Confidence = None,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    device: Device = "cpu",
) -> None:
    """Write sample id, score, p-value and decision of every sample or group."""
    from fimetric.inputs import Named, open_detector
    from fimetric.scoring import check_target, write_scores

    check_target(out)
    loaded, shape = open_detector(detector, model, device)
    loaded.calibration.threshold(alpha, confidence)
    table = Named(split, limit, size, channels).open_table(data, shape)
    groups, alarms = write_scores(loaded, table, out, alpha, confidence)
    typer.echo(f"{out}: {alarms} of {groups} out of distribution at alpha = {alpha}")


@app.command()
def evaluate(
    model: ModelFolder,
    data: Annotated[str, typer.Option("--id", help=f"In-distribution data. {DATA_HELP}")],
    ood: Annotated[list[str], typer.Option(help="Out-of-distribution data; may be repeated.")],
    out: Out,
    split: Split = "test",
    group_size: Annotated[list[int], typer.Option(help="May be repeated.")] = [1, 5],  # noqa: B006
    density: Annotated[list[str] | None, typer.Option(help="May be repeated; all if none.")] = None,
    timesteps: Times = None,
    draws: Draws = 1,
    batch_size: Batch = 64,
    limit: Limit = None,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Print AUROC, AUPR and FPR of every detector on every OOD set, and draw them."""
    from fimetric.detectors import OF_ANY_TABLE
    from fimetric.evaluation import evaluate as run
    from fimetric.inputs import Named, new_folder, open_objective
    from fimetric.models import load
    from fimetric.report.evaluation import write_evaluation
    from fimetric.report.model import write_model

    new_folder(out)
    objective, shape = open_objective(model, device, _times(timesteps), draws, seed)
    part = Named(split, limit, size, channels)
    own = part.open(data, shape)
    found = run(
        objective,
        own,
        part.open_all(ood, shape),
        group_size,
        density or OF_ANY_TABLE,
        out / "features",
        seed,
        batch_size,
    )
    console = Console()
    write_model(load(model).to(device), own, out, console, seed)
    write_evaluation(found, objective, out, console)


@app.command()
def analyse(
    model: ModelFolder,
    data: Annotated[str, typer.Option("--data", help=f"In-distribution data. {DATA_HELP}")],
    out: Out,
    ood: Annotated[list[str] | None, typer.Option(help="Foreign data; may be repeated.")] = None,
    claim: Annotated[list[str] | None, typer.Option(help="May be repeated; all if none.")] = None,
    split: Split = "test",
    samples: Annotated[int, typer.Option(help="Samples of each set, and of the model.")] = 1000,
    timesteps: Times = None,
    batch_size: Batch = 64,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Ask of a model whether the method's assumptions hold; called again, it goes on."""
    from fimetric.claims import analyse as run
    from fimetric.claims import kept, open_study, select
    from fimetric.inputs import Named, new_folder
    from fimetric.report.claims.page import write_page

    new_folder(out)
    select(claim)  # refuses an unknown one before the work
    part = Named(split, None, size, channels)
    times = _times(timesteps)
    study = open_study(model, data, ood or [], out, part, device, times, samples, seed, batch_size)
    findings = run(study, out, claim)
    write_page(kept(study, out), study, out / "claims.md")
    for finding in findings:
        typer.echo(f"{finding.verdict:14} {finding.title}. {finding.because}")
    typer.echo(f"{out / 'claims.md'}: tables and pictures")


@app.command()
def benchmark(
    config: Annotated[str, typer.Argument(help="A TOML file, or a tier: smoke, cpu, paper.")],
    out: Out,
    jobs: Annotated[int | None, typer.Option(help="Processes; one a core if left out.")] = None,
    train_only: Annotated[bool, typer.Option("--train-only", help="Score nothing yet.")] = False,
) -> None:
    """Compare all methods on a grid of models and data; called again, it goes on."""
    from fimetric.benchmark.config import read
    from fimetric.benchmark.run import run
    from fimetric.benchmark.run import train as train_all
    from fimetric.benchmark.writing import write
    from fimetric.inputs import new_folder

    grid = read(config)
    if train_only:
        train_all(grid, new_folder(out), jobs)
        return
    found = run(grid, new_folder(out), jobs)
    tables = write(found, grid, out)
    typer.echo(
        f"{tables}: {len(found.comparisons)} comparisons; {out / 'benchmark.html'} shows all"
    )


@app.command()
def retrain(
    kind: Annotated[str, typer.Argument(help="vae, glow or diffusion.")],
    data: Data,
    ood: Annotated[list[str], typer.Option(help="Foreign data; may be repeated.")],
    out: Out,
    config: Annotated[str, typer.Option(help="tiny, small or paper.")] = "tiny",
    steps: Annotated[int, typer.Option(help="Optimiser steps of each training.")] = 2500,
    size: Size = None,
    channels: Channels = None,
    seed: Seed = 0,
) -> None:
    """Train a model on each representation of the data, and compare how they rank samples."""
    from fimetric.claims.retraining import retrain as run
    from fimetric.inputs import Named, new_folder
    from fimetric.report.claims.page import write_finding

    new_folder(out)
    own = {split: Named(split, None, size, channels).open(data) for split in ("train", "test")}
    foreign = Named("test", None, size, channels).open_all(ood, own["train"].shape)
    finding = run(
        own["train"], own["test"], foreign, out, kind=kind, config=config, steps=steps, seed=seed
    )
    write_finding(finding, out / "retraining.md")
    typer.echo(f"{finding.verdict:14} {finding.title}. {finding.because}")
    typer.echo(f"{out / 'retraining.md'}: tables and pictures")


def main() -> None:
    """Run the command line."""
    logger = logging.getLogger("fimetric")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        console = Console(stderr=True)
        handler = RichHandler(console=console, show_time=False, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    app()


def _times(text: str | None) -> list[int] | None:
    try:
        return None if text is None else [int(t) for t in text.split(",")]
    except ValueError:
        raise ValueError(f"timesteps must be numbers, as in 0,10; got {text!r}") from None
