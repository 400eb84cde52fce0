"""Models by name; a model as a folder, ``config.json`` and ``model.safetensors``, no pickle."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from fimetric.arguments import folder_of, listed, made, seed_of, whole
from fimetric.data import Samples
from fimetric.models.bounds import check_fit, check_numbers
from fimetric.models.family import SAMPLES, Model, family, family_of
from fimetric.models.takers import refuse_misfits
from fimetric.store import archive
from fimetric.store.files import whole_file, whole_folder

AGAIN = "save or train the model again"


class Description(msgspec.Struct, forbid_unknown_fields=True):
    """What ``config.json`` says: kind, shape of a sample, and fields of the config."""

    kind: str
    shape: tuple[int, ...]
    config: dict[str, Any]


class _First(Description):
    """The first version, which had no checksums."""

    version: int = 1


class _Marked(msgspec.Struct):
    version: Any = None


OWN = ("config.json", "model.safetensors")
CONFIG = archive.Kind("config", 2, Description, AGAIN)


def kind_of(model: Model) -> str:
    """Return the name of a model's family.

    Raises:
        TypeError: for a module that is no reference model.
    """
    return family_of(model).kind


def build(
    kind: str, config: str | Mapping[str, Any] | Any, shape: Sequence[int], seed: int = 0
) -> Model:
    """Return an untrained model on the CPU, in training mode.

    Arguments:
        kind: A name in ``FAMILIES``.
        config: A name of the class's ``CONFIGS``, a dictionary of fields, or a config object.
        shape: Shape of one sample: (C, H, W) of an image, (T,) of sound, (D,) of a row of a table,
            and of texts the tokens (T,) that are seen at once.
        seed: Seed of the initial weights; the global generator is left as it was.

    Raises:
        ValueError: for an unknown kind, configuration or field, or a shape the model cannot take.
    """
    row = family(kind)
    cls, expected = row.model, SAMPLES[row.samples]
    sides = tuple(whole("a side of shape", side) for side in listed("shape", shape, "(1, 32, 32)"))
    if len(sides) != len(expected):
        raise ValueError(f"shape must be ({', '.join(expected)}), got {sides}")
    settings = _config(cls, config)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of(seed))
        try:
            return cls(settings, sides)
        except (TypeError, RuntimeError, OverflowError) as error:
            raise ValueError(f"no {cls.__name__} can be made of {settings}: {error}") from error


def build_for(
    kind: str, config: str | Mapping[str, Any] | Any, samples: Samples, seed: int = 0
) -> Model:
    """Return an untrained model for samples, which say its shape; see ``build``.

    What a configuration learns from training data before weights are made, as the vocabulary of a
    language model, it learns from these.

    Raises:
        ValueError: for what ``build`` refuses.
        TypeError: for samples of another kind than the family's, or clips of several lengths.
    """
    row = family(kind)
    refuse_misfits(row, samples)
    cls = row.model
    settings, shape = cls.fitting(_config(cls, config), samples)
    return build(kind, settings, shape, seed)


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
    found: Any = made(cls.Config, config, cls.__name__)
    check_numbers(asdict(found))
    return found


def write(model: Model, folder: Path, half: bool = False) -> None:
    """Write both files of a model into a folder, each whole or not at all.

    Weights of another description are removed first: killed in between, there is no model, rather
    than one that was never trained.
    """
    description = Description(kind_of(model), model.shape, asdict(model.config))
    config, weights = folder / "config.json", folder / "model.safetensors"
    text = CONFIG.encode(description)
    if not config.exists() or config.read_bytes() != text:
        weights.unlink(missing_ok=True)
        with whole_file(config) as path:
            path.write_bytes(text)
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if half:  # buffers, such as the means of columns of any size, are no weights
        trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        tensors |= {name: tensors[name].half() for name in tensors.keys() & trained}
    with whole_file(weights) as path:
        path.write_bytes(archive.seal(safetensors.torch.save(tensors)))


def save(model: Model, folder: str | Path, overwrite: bool = False, half: bool = False) -> None:
    """Save a model as a folder, whole or not at all.

    With ``half`` weights are rounded to half precision, which halves the file; ``load`` returns
    them as single precision, so the model that comes back is the rounded one.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
    """
    kind_of(model)  # refused before a folder is made
    with whole_folder(folder, overwrite, OWN) as temporary:
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
    description, sealed = _describe(folder / "config.json")
    tensors = read_weights(folder / "model.safetensors", sealed)
    return _made(description, tensors, folder).eval()


def describe(folder: Path) -> Description:
    """Return what the ``config.json`` of a model says.

    Raises:
        ValueError: where it is damaged or of a version that is not known.
    """
    return _describe(folder / "config.json")[0]


def read_weights(path: Path, sealed: bool = True) -> dict[str, Tensor]:
    """Return the tensors in a ``model.safetensors``; floating-point ones are finite.

    Raises:
        ValueError: where it is damaged.
    """  # noqa: DOC501  (damaged() makes it)
    payload = archive.unseal(path.read_bytes(), path, AGAIN, allow_unsealed=not sealed)
    try:
        tensors = safetensors.torch.load(payload)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise archive.damaged(path, error, AGAIN) from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{path}: {name} has values that are not finite; {AGAIN}")
    return tensors


def _describe(path: Path) -> tuple[Description, bool]:
    """Return a description, and whether its version has checksums.

    Raises:
        ValueError: where it is damaged.
    """  # noqa: DOC501  (damaged() makes it)
    try:
        text = path.read_bytes()
        if msgspec.json.decode(text, type=_Marked).version == 1:
            return msgspec.json.decode(text, type=_First), False
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise archive.damaged(path, error, AGAIN) from error
    return CONFIG.read(path.parent)[0], True


def _made(description: Description, tensors: dict[str, Tensor], folder: Path) -> Model:
    """Return a model with its weights, after a look at whether they fit it."""
    make = partial(build, description.kind, description.config, description.shape)
    check_fit(make, tensors, folder)
    model = make()
    model.load_state_dict(tensors)
    return model
