"""Checkpoints of a training run: tensors in safetensors, the rest in JSON, whole or not at all."""

import csv
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import msgspec
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from fimetric.data import Samples, Texts
from fimetric.models import Model, kind_of
from fimetric.store import archive
from fimetric.store.files import whole_file, whole_folder
from fimetric.training.recipes import Recipe
from fimetric.training.run import Run

Step = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Row(msgspec.Struct, forbid_unknown_fields=True):
    """One validation."""

    step: Step
    loss: float
    bits_per_dim: float


class State(msgspec.Struct, forbid_unknown_fields=True):
    """Where a run stands; ``best`` is None before the first validation.

    Raises:
        ValueError: where the numbers contradict each other.
    """

    settings: dict[str, Any]
    step: Step
    best: float | None
    best_step: Step
    rows: list[Row]

    def __post_init__(self) -> None:
        """Check that steps rise up to the present one, and that the best is among them.

        Raises:
            ValueError: where they do not, or it is not.
        """
        steps = [row.step for row in self.rows]
        if steps != sorted(set(steps)) or (steps and steps[-1] > self.step):
            raise ValueError(f"steps of its rows do not rise up to {self.step}: {steps}")
        best = min((row.bits_per_dim for row in self.rows), default=None)
        if self.best != best or (best is not None and self.best_step not in steps):
            raise ValueError(f"best is {self.best} in step {self.best_step}, its rows say {best}")


WRONG = (SafetensorError, ValueError, LookupError, TypeError, RuntimeError)
STATE = archive.Kind("state", 2, State, "remove the folder checkpoint to start anew")


def fingerprint(model: Model, data: Samples, held_out: Samples, recipe: Recipe) -> dict[str, Any]:
    """Return what has to be the same for a run to be resumed, in the order it is compared in."""
    settings = {
        "kind": kind_of(model),
        "shape": list(model.shape),
        **asdict(recipe),
        "data": [len(data), _checksum(data)],
        "config": asdict(model.config),  # behind the data, which a vocabulary is learned from
        "validation": [len(held_out), _checksum(held_out)],
    }
    del settings["patience"]  # it may change from call to call: it only says when to stop
    return json.loads(json.dumps(settings))  # tuples become lists, as they will be when read


def _checksum(samples: Samples) -> int:
    if isinstance(samples, Texts):
        return zlib.crc32("\0".join(samples.texts).encode("utf-8", "surrogatepass"))
    return zlib.crc32(samples.values.contiguous().numpy().tobytes())


def write_checkpoint(folder: Path, run: Run, settings: dict[str, Any]) -> None:
    """Write weights, average, optimiser state, step and history of a run."""
    rows = [Row(**row) for row in run.rows]
    state = State(settings, run.step, run.best if rows else None, run.best_step, rows)
    tensors = {name: t.detach().cpu().contiguous().clone() for name, t in _tensors(run).items()}
    with whole_folder(folder, overwrite=True) as temporary:
        STATE.write(temporary, state, safetensors.torch.save(tensors))


def read_checkpoint(folder: Path, run: Run, settings: dict[str, Any]) -> None:
    """Put a run where the checkpoint stands.

    Raises:
        ValueError: for a damaged checkpoint, or one of other settings or data (naming them).
    """
    try:
        state, payload = STATE.read(folder)
    except FileNotFoundError as error:
        raise STATE.damaged(Path(error.filename), "it is missing") from error
    _compare(folder, state.settings, settings)
    if not 1 <= state.step <= run.recipe.steps or state.best is None:
        raise STATE.damaged(folder / "state.json", f"it is of step {state.step}, best {state.best}")
    try:
        _restore(run, safetensors.torch.load(payload or b""))
    except WRONG as error:
        raise STATE.damaged(folder / "state.safetensors", error) from error
    run.step, run.best, run.best_step = state.step, state.best, state.best_step
    run.rows = [msgspec.structs.asdict(row) for row in state.rows]


def _tensors(run: Run) -> dict[str, Tensor]:
    tensors = {f"model/{name}": t for name, t in run.model.state_dict().items()}
    tensors |= {f"average/{name}": t for name, t in run.average.items()}
    for index, state in run.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": t for key, t in state.items()}
    return tensors


def _compare(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(
                f"the checkpoint {folder} is of another run: {key} was {found.get(key)}, "
                f"now {value}; "
                "call with the same settings and data, or take another folder"
            )


def _restore(run: Run, tensors: dict[str, Tensor]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, rest = name.split("/", 1)
        parts[part][rest] = tensor
    where = next(run.model.parameters()).device
    run.model.load_state_dict(parts["model"])
    average = parts["average"]
    run.average = {n: average[n].to(where).view(t.shape) for n, t in run.average.items()}
    state = run.optimiser.state_dict()
    state["state"] = {}
    parameters = list(run.model.parameters())
    for name, tensor in parts["optimiser"].items():
        index, key = name.split("/")
        if tensor.shape not in (parameters[int(index)].shape, ()):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}")
        state["state"].setdefault(int(index), {})[key] = tensor
    run.optimiser.load_state_dict(state)


def write_log(folder: Path, rows: list[dict[str, float]]) -> None:
    """Write ``log.csv``, whole from the history each time, so that no row is there twice."""
    with (
        whole_file(folder / "log.csv") as path,
        path.open("w", newline="", encoding="utf-8") as out,
    ):
        writer = csv.DictWriter(out, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
