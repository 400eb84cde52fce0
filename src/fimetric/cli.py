"""The command line: reading arguments, one call each."""

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.logging import RichHandler

app = typer.Typer(
    help="Out-of-distribution detection with deep generative models, by gradient norms.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DATA_HELP = (
    "Hugging Face name, folder with parquet files or images, an image, .npy or .npz file, "
    "or a name under $FIMETRIC_DATA; bundled: digits, patches, letters"
)
Data = Annotated[str, typer.Option("--data", help=DATA_HELP)]
Split = Annotated[str, typer.Option(help="Part of the data set.")]
Limit = Annotated[int | None, typer.Option(help="Take the first samples only.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
Seed = Annotated[int, typer.Option(help="Seed of noise and permutations.")]
Batch = Annotated[int, typer.Option("--batch-size", help="Samples to a forward pass.")]
Group = Annotated[int, typer.Option("--group-size", help="Samples judged together.")]
Times = Annotated[str, typer.Option(help="Timesteps of a diffusion model, as in 0,10,100.")]
Draws = Annotated[int, typer.Option(help="Noise draws (VAE, diffusion).")]
Alpha = Annotated[float, typer.Option(help="False-alarm rate.")]
Confidence = Annotated[
    float | None, typer.Option(help="Keep the false-alarm rate with this probability.")
]
Out = Annotated[Path, typer.Option("--out", help="Where to write.")]
ModelFolder = Annotated[Path, typer.Argument(help="Folder of a model, as `train` writes it.")]


@app.command()
def demo(out: Out = Path("fimetric-demo"), seed: Seed = 0) -> None:
    """Train, fit and score on data that come with the dependencies, within two minutes."""
    from fimetric.demo import demo as run

    run(out, Console(), seed)


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
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Train a reference model; called again, it goes on from the last checkpoint."""
    from fimetric.data import load
    from fimetric.models import build
    from fimetric.training import train as run

    samples = load(data, split=split, limit=limit)
    model = build(kind, config, samples.shape, seed)
    history = run(
        model, samples, out, steps=steps, batch_size=batch_size, lr=lr, seed=seed, device=device
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
    timesteps: Times = "0",
    draws: Draws = 1,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Write the gradient norms of a data set; called again, it goes on where it was stopped."""
    from fimetric import extract as run

    objective = _objective(model, device, _times(timesteps), draws, seed)
    features = run(objective, _load(data, split, limit, objective), batch_size, group_size, out)
    typer.echo(f"{out}: {features!r}")


@app.command()
def fit(
    model: ModelFolder,
    data: Data,
    out: Out,
    density: Annotated[str, typer.Option(help="Density of the norms.")] = "layerwise-gaussian",
    split: Split = "test",
    group_size: Group = 1,
    timesteps: Times = "0",
    draws: Draws = 1,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a detector.")] = False,
) -> None:
    """Fit and calibrate a detector on in-distribution data that the model was not trained on."""
    from fimetric import Detector
    from fimetric.detectors import create

    if out.exists() and not overwrite:
        raise FileExistsError(f"{out} exists already; pass --overwrite to replace it")
    objective = _objective(model, device, _times(timesteps), draws, seed)
    detector = Detector(objective, create(density), group_size, seed)
    detector.fit(_features_or_data(data, split, limit, objective)).save(out, overwrite)
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
    device: Device = "cpu",
) -> None:
    """Write sample id, score, p-value and decision of every sample or group."""
    from fimetric import Detector
    from fimetric.scoring import write_scores

    settings = Detector.read_settings(detector)
    objective = _objective(model, device, **settings)
    loaded = Detector.load(detector, objective)
    samples = _features_or_data(data, split, limit, objective)
    groups, alarms = write_scores(loaded, samples, out, alpha, confidence)
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
    timesteps: Times = "0",
    draws: Draws = 1,
    batch_size: Batch = 64,
    limit: Limit = None,
    seed: Seed = 0,
    device: Device = "cpu",
) -> None:
    """Print AUROC, AUPR and FPR of every detector on every OOD set, and draw them."""
    from fimetric.detectors import DENSITIES
    from fimetric.evaluation import evaluate as run
    from fimetric.report.evaluation import write_evaluation

    objective = _objective(model, device, _times(timesteps), draws, seed)
    own = _load(data, split, limit, objective)
    sets = [_load(name, split, limit, objective) for name in ood]
    found = run(
        objective,
        own,
        {samples.name: samples for samples in sets},
        group_size,
        density or list(DENSITIES),
        out / "features",
        seed,
        batch_size,
    )
    write_evaluation(found, objective, out, Console())


def main() -> None:
    """Run the command line; errors of use end in one line and a status of 1."""
    logging.basicConfig(
        level=logging.WARNING,
        format="%(message)s",
        handlers=[RichHandler(console=Console(stderr=True), show_time=False, show_path=False)],
    )
    logging.getLogger("fimetric").setLevel(logging.INFO)
    try:
        app()
    except KeyboardInterrupt:
        _stop("stopped; what was done is kept, call again to go on", 130)
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        _stop(f"error: {error}", 1)


def _stop(message: str, status: int) -> None:
    typer.echo(message, err=True)
    sys.exit(status)


def _objective(
    model: Path, device: str, timesteps: Any = (0,), draws: int = 1, seed: int = 0, **_: Any
) -> Any:
    from fimetric.models import load
    from fimetric.objectives import standard_objective

    return standard_objective(load(model).eval().to(device), timesteps, draws, seed)


def _times(text: str) -> list[int]:
    try:
        return [int(t) for t in text.split(",")]
    except ValueError:
        raise ValueError(f"timesteps must be numbers, as in 0,10; got {text!r}") from None


def _load(source: str, split: str, limit: int | None, objective: Any) -> Any:
    from fimetric.data import load

    return load(source, split=split, limit=limit)


def _features_or_data(source: str, split: str, limit: int | None, objective: Any) -> Any:
    from fimetric.features import Features

    if (Path(source) / "features.json").exists():
        return Features.load(source)
    return _load(source, split, limit, objective)
