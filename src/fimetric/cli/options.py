"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DATA_HELP = (
    "Hugging Face name, folder with parquet files or images, an image, .npy or .npz file, "
    "or a name under $FIMETRIC_DATA; bundled: digits, patches, letters"
)
Data = Annotated[str, typer.Option("--data", help=DATA_HELP)]
Split = Annotated[str, typer.Option(help="Part of the data set.")]
Limit = Annotated[int | None, typer.Option(help="Take the first samples only.")]
Size = Annotated[int | None, typer.Option(help="Resize 8-bit pictures to this side.")]
Channels = Annotated[int | None, typer.Option(help="1 makes pictures grey, 3 RGB.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
Seed = Annotated[int, typer.Option(help="Seed of noise and permutations.")]
Batch = Annotated[
    int | None, typer.Option("--batch-size", help="Samples to a forward pass; 64 if left out.")
]
Group = Annotated[int, typer.Option("--group-size", help="Samples judged together.")]
Times = Annotated[str | None, typer.Option(help="Timesteps of a diffusion model, as in 0,50,300.")]
Draws = Annotated[int, typer.Option(help="Noise draws (VAE, diffusion).")]
Alpha = Annotated[float, typer.Option(help="False-alarm rate.")]
Confidence = Annotated[
    float | None, typer.Option(help="Keep the false-alarm rate with this probability.")
]
Out = Annotated[Path, typer.Option("--out", help="Where to write.")]
ModelFolder = Annotated[Path, typer.Argument(help="Folder of a model, as `train` writes it.")]


def batch_of(size: int | None) -> int | None:
    """Return the samples to a forward pass, None where the option was left out."""
    if size is not None and size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {size}")
    return size


def timesteps_of(text: str | None) -> list[int] | None:
    """Return the numbers in a list such as ``0,10``; None if there is none."""
    try:
        return None if text is None else [int(t) for t in text.split(",")]
    except ValueError:
        raise ValueError(f"timesteps must be numbers, as in 0,10; got {text!r}") from None
