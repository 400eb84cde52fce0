"""Options that several commands share; those of a model, and of data, gathered in one object."""

import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from fimetric.arguments import folder_of, real, seed_of, whole
from fimetric.data.named import Named, Shape
from fimetric.detection.detector import Detector
from fimetric.extraction.loss_parts import COSTLY, FREE
from fimetric.models import FAMILIES
from fimetric.objectives import Objective, from_pretrained


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


def _loss_parts(value: str) -> str | None:
    """Return the parts of the loss that a name stands for, None for none.

    Raises:
        ValueError: listing the names.
    """
    named: dict[str, str | None] = {FREE: FREE, COSTLY: COSTLY, "none": None}
    if value not in named:
        raise ValueError(f"parts must be one of {', '.join(named)}, not {value!r}")
    return named[value]


def _seed(value: int) -> int:
    return seed_of(value)


def _source(value: str | None) -> str | None:
    """Refuse what no file can be called, as soon as it is typed."""
    if value is not None:
        folder_of(value, "the model")
    return value


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
Alpha = Annotated[float, typer.Option(help="False-alarm rate.")]
Confidence = Annotated[
    float | None, typer.Option(help="Keep the false-alarm rate with this probability.")
]
LossParts = Annotated[
    str,
    typer.Option(
        "--parts",
        callback=_loss_parts,
        help=f"Of the losses, beside the norms: {FREE}, {COSTLY} (by further passes) or none.",
    ),
]
Out = Annotated[Path, typer.Option("--out", parser=named, metavar="PATH", help="Where to write.")]

MODEL_HELP = (
    "A folder or file with a model, a name on the Hugging Face hub, or FILE.py:FUNCTION, which "
    "returns an objective: that file is run, and can do anything"
)
OF_MODEL = "Options of the model"  # where help shows them; one that does not concern it is refused
Model = Annotated[str, typer.Argument(callback=_source, metavar="MODEL", help=f"{MODEL_HELP}.")]
Times = Annotated[
    str | None,
    typer.Option(rich_help_panel=OF_MODEL, help="Timesteps of a diffusion model, as in 0,50,300."),
]
Draws = Annotated[
    int,
    typer.Option(
        callback=counted, rich_help_panel=OF_MODEL, help="Noise draws of a loss that has noise."
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        rich_help_panel=OF_MODEL,
        help="Differentiate those alone whose names fit, as in '*.lora_*'; may be repeated.",
    ),
]
Dtype = Annotated[
    str | None,
    typer.Option(rich_help_panel=OF_MODEL, help="Number format of the weights, as in bfloat16."),
]
Condition = Annotated[
    str | None,
    typer.Option(
        rich_help_panel=OF_MODEL, help="Column that the model is told, such as label or prompt."
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        callback=counted,
        rich_help_panel=OF_MODEL,
        help="Cut texts to so many tokens; else longer ones than the model takes are refused.",
    ),
]
Positions = Annotated[
    int | None,
    typer.Option(
        callback=counted,
        rich_help_panel=OF_MODEL,
        help="Positions of a text that a masked model is asked for; all if left out.",
    ),
]
Base = Annotated[
    str | None,
    typer.Option(
        callback=_source,
        rich_help_panel=OF_MODEL,
        help="Model of an adapter, where its folder does not say.",
    ),
]
Revision = Annotated[
    str | None, typer.Option(rich_help_panel=OF_MODEL, help="Revision of a model of the hub.")
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option(
        "--trust-remote-code",
        rich_help_panel=OF_MODEL,
        help="Run the code that lies beside a model; it can do anything.",
    ),
]


@dataclass(frozen=True)
class Asked:
    """What a command is told of its model, as ``fimetric.objectives.from_pretrained`` takes it."""

    model: Model
    timesteps: Times = None
    draws: Draws = 1
    parameters: Parameters = None
    dtype: Dtype = None
    condition: Condition = None
    window: Window = None
    positions: Positions = None
    base: Base = None
    revision: Revision = None
    trust_remote_code: TrustRemoteCode = False
    seed: Seed = 0
    device: Device = "cpu"

    def objective(self) -> Objective:
        """Return the objective of the model; see ``from_pretrained`` for what it raises."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        times = timesteps_of(told.pop("timesteps"))
        return from_pretrained(told.pop("model"), times, **told)


@dataclass(frozen=True)
class Again:
    """What a command is told of the model of a detector, which remembers all else of it."""

    model: Annotated[
        str | None,
        typer.Option(
            callback=_source,
            metavar="MODEL",
            help=f"The model that it was fitted with, where it has moved. {MODEL_HELP}.",
        ),
    ] = None
    base: Base = None
    trust_remote_code: TrustRemoteCode = False
    device: Device = "cpu"

    def detector(self, folder: Path) -> tuple[Detector, Shape | None]:
        """Return a detector on its model, and the shape of its samples; see ``open_detector``."""
        from fimetric.detection.opening import open_detector

        return open_detector(folder, self.model, self.device, self.base, self.trust_remote_code)


@dataclass(frozen=True)
class Part:
    """What a command is told of its data besides their name, as ``fimetric.data.load`` takes it."""

    split: Split = "test"
    limit: Limit = None
    size: Size = None
    channels: Channels = None
    column: Column = None
    rate: Rate = None

    def named(self, condition: str | None = None) -> Named:
        """Return what opens data by their names, with the column that a loss is told of them."""
        return Named(**vars(self), condition=condition)


def timesteps_of(text: str | None) -> list[int] | None:
    """Return the numbers in a list such as ``0,10``; None if there is none.

    Raises:
        ValueError: where one of them is no whole number.
    """
    try:
        return None if text is None else [int(t) for t in text.split(",")]
    except ValueError:
        raise ValueError(f"timesteps must be numbers, as in 0,10; got {text!r}") from None
