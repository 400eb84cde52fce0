"""Models by name; a model as a folder, ``config.json`` and ``model.safetensors``, no pickle."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from fimetric.arguments import folder_of, listed, seed_of, whole
from fimetric.files import whole_file, whole_folder
from fimetric.models.diffusion import Diffusion
from fimetric.models.glow import Glow
from fimetric.models.vae import VAE

VERSION = 1
Model = VAE | Glow | Diffusion
KINDS: dict[str, type[Model]] = {"vae": VAE, "glow": Glow, "diffusion": Diffusion}


def kind_of(model: Model) -> str:
    """Return the name of a model's kind, a key of ``KINDS``.

    Raises:
        TypeError: for a module that is no reference model.
    """
    for kind, cls in KINDS.items():
        if type(model) is cls:
            return kind
    raise TypeError(f"{type(model).__name__} is no reference model; they are {', '.join(KINDS)}")


def build(
    kind: str, config: str | Mapping[str, Any] | Any, shape: Sequence[int], seed: int = 0
) -> Model:
    """Return an untrained model on the CPU, in training mode.

    Arguments:
        kind: ``"vae"``, ``"glow"`` or ``"diffusion"``.
        config: A name of the class's ``CONFIGS``, a dictionary of fields, or a config object.
        shape: Shape (C, H, W) of one sample.
        seed: Seed of the initial weights; the global generator is left as it was.

    Raises:
        ValueError: for an unknown kind, configuration or field, or a shape the model cannot take.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind of model {kind!r}; known are {', '.join(KINDS)}")
    cls = KINDS[kind]
    sides = tuple(whole("a side of shape", side) for side in listed("shape", shape, "(1, 32, 32)"))
    if len(sides) != 3:
        raise ValueError(f"shape must be (channels, height, width), got {sides}")
    C, H, W = sides
    settings = _config(cls, config)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(seed))
        try:
            return cls(settings, (C, H, W))
        except (TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"no {cls.__name__} can be made of {settings}: {error}") from error


def _config(cls: type[Model], config: Any) -> Any:
    if isinstance(config, cls.Config):
        return config
    if isinstance(config, str):
        if config not in cls.CONFIGS:
            known = ", ".join(cls.CONFIGS)
            raise ValueError(
                f"unknown {cls.__name__} configuration {config!r}; known are {known}, "
                "or give a dictionary"
            )
        return cls.CONFIGS[config]
    if not isinstance(config, Mapping):
        raise ValueError(
            f"config must be a name, a dictionary or a {cls.Config.__name__}, "
            f"got {type(config).__name__}"
        )
    known_fields = [field.name for field in fields(cls.Config)]
    for key in config:
        if key not in known_fields:
            raise ValueError(
                f"{cls.__name__} has no setting {key!r}; it has {', '.join(known_fields)}"
            )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    make: Any = cls.Config
    return make(**values)


def write(model: Model, folder: Path, half: bool = False) -> None:
    """Write both files of a model into a folder, each whole or not at all."""
    description = {
        "version": VERSION,
        "kind": kind_of(model),
        "shape": list(model.shape),
        "config": asdict(model.config),
    }
    with whole_file(folder / "config.json") as path:
        path.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if half:
        tensors = {n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}
    with whole_file(folder / "model.safetensors") as path:
        save_file(tensors, path)


def save(model: Model, folder: str | Path, overwrite: bool = False, half: bool = False) -> None:
    """Save a model as a folder, whole or not at all.

    With ``half`` weights are rounded to half precision, which halves the file; ``load`` returns
    them as single precision, so the model that comes back is the rounded one.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
    """
    kind_of(model)  # refused before a folder is made
    with whole_folder(folder, overwrite) as temporary:
        write(model, temporary, half)


def load(folder: str | Path) -> Model:
    """Return a saved model, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError: where the folder or one of its two files is missing.
        ValueError: for a file that is damaged, of another version, or does not fit its
        configuration.
    """
    folder = folder_of(folder)
    if folder.is_file():
        raise ValueError(
            f"{folder} is a file; a model is a folder with config.json and model.safetensors "
            "(pickled models are not read, they can run code)"
        )
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} holds no {name}; "
                "a model is a folder with config.json and model.safetensors"
            )
    model = _from_description(folder / "config.json")
    _fill(model, folder / "model.safetensors")
    return model.eval()


def _from_description(path: Path) -> Model:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        version, kind = found["version"], found["kind"]
        shape, config = tuple(found["shape"]), found["config"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no description of a model ({error!r}); save the model again"
        ) from error
    if version != VERSION:
        raise ValueError(
            f"{path} has version {version!r}, this fimetric reads version {VERSION}; "
            "use the fimetric it was written with, or train again"
        )
    try:
        return build(kind, config, shape)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} describes no model: {error}") from error


def _fill(model: Model, path: Path) -> None:
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}); save the model again"
        ) from error
    expected = model.state_dict()
    missing, extra = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or extra:
        raise ValueError(
            f"{path} does not fit its config.json: {len(missing)} tensors missing, "
            f"{len(extra)} unknown, such as {sorted(missing | extra)[0]}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            raise ValueError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, "
                f"config.json says {tuple(expected[name].shape)}"
            )
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} has values that are not finite")
    model.load_state_dict(tensors)
