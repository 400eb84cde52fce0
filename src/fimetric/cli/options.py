"""Options that several commands share."""

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from fimetric.arguments import folder_of, real, seed_of, whole
from fimetric.models import FAMILIES


def counted(param: typer.CallbackParam, value: Any) -> Any:
    """Refuse a number below 1, or one of several, as soon as it is typed."""
    for each in value if isinstance(value, list) else [value]:
        if each is not None:
            whole(str(param.name), each)
    return value


def positive(param: typer.CallbackParam, value: float | None) -> float | None:
    """Refuse a number that is not positive and finite, as soon as it is typed.

    Raises:
        ValueError: naming the parameter.
    """
    if value is not None and not 0 < real(str(param.name), value) < math.inf:
        raise ValueError(f"{param.name} must be positive, not {value}")
    return value


def _seed(value: int) -> int:
    return seed_of(value)


def named(text: str | Path) -> Path:
    """Return a path; typer itself would take an empty name for the current folder.

    Raises:
        OSError: in place of the ValueError for a name that is no path.
    """
    try:
        return folder_of(text, "the path")
    except ValueError as error:
        raise OSError(str(error)) from None  # typer says nothing of the words of a ValueError


DATA_HELP = (
    "File or folder: parquet, .csv, .tsv, .jsonl, .txt, images, sounds (.wav, .flac, .ogg, .mp3), "
    ".npy, .npz; a Hugging Face name; a name under $FIMETRIC_DATA; "
    "bundled: digits, patches, letters"
)
Data = Annotated[str, typer.Option("--data", help=DATA_HELP)]
Split = Annotated[str, typer.Option(help="Part of the data set.")]
Limit = Annotated[int | None, typer.Option(callback=counted, help="Take the first samples only.")]
Size = Annotated[
    int | None, typer.Option(callback=counted, help="Resize 8-bit pictures to this side.")
]
Channels = Annotated[int | None, typer.Option(help="1 makes pictures grey, 3 RGB.")]
Column = Annotated[
    str | None,
    typer.Option(help="Column of a table that holds the samples, where its name does not tell."),
]
Rate = Annotated[
    int | None,
    typer.Option(callback=counted, help="Resample sounds to so many values a second."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, mps ...")]
Seed = Annotated[int, typer.Option(callback=_seed, help="Seed of noise and permutations.")]
Kind = Annotated[str, typer.Argument(help=f"{', '.join(FAMILIES)}.")]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size", callback=counted, help="Samples to a forward pass; 64 if left out."
    ),
]
Group = Annotated[
    int, typer.Option("--group-size", callback=counted, help="Samples judged together.")
]
Groups = Annotated[
    list[int], typer.Option("--group-size", callback=counted, help="May be repeated.")
]
Times = Annotated[str | None, typer.Option(help="Timesteps of a diffusion model, as in 0,50,300.")]
Draws = Annotated[int, typer.Option(callback=counted, help="Noise draws of a loss that has noise.")]
Alpha = Annotated[float, typer.Option(help="False-alarm rate.")]
Confidence = Annotated[
    float | None, typer.Option(help="Keep the false-alarm rate with this probability.")
]
Out = Annotated[Path, typer.Option("--out", parser=named, metavar="PATH", help="Where to write.")]
ModelFolder = Annotated[
    Path,
    typer.Argument(parser=named, metavar="MODEL", help="Folder of a model, as `train` writes it."),
]


def timesteps_of(text: str | None) -> list[int] | None:
    """Return the numbers in a list such as ``0,10``; None if there is none.

    Raises:
        ValueError: where one of them is no whole number.
    """
    try:
        return None if text is None else [int(t) for t in text.split(",")]
    except ValueError:
        raise ValueError(f"timesteps must be numbers, as in 0,10; got {text!r}") from None
