"""Checkpoints of a training run: tensors in safetensors, the rest in JSON, whole or not at all."""

import csv
import importlib.util
import json
import zlib
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from fimetric.data import Samples
from fimetric.files import whole_file, whole_folder
from fimetric.models import Model, kind_of
from fimetric.training.recipes import Recipe

VERSION = 1


def fingerprint(model: Model, data: Samples, held_out: Samples, recipe: Recipe) -> dict[str, Any]:
    """Return what has to be the same for a run to be resumed."""
    settings = {
        "kind": kind_of(model),
        "shape": list(model.shape),
        "config": asdict(model.config),
        **asdict(recipe),
        "data": [len(data), _checksum(data.values)],
        "validation": [len(held_out), _checksum(held_out.values)],
    }
    del settings["patience"]  # it may change from call to call: it only says when to stop
    return json.loads(json.dumps(settings))  # tuples become lists, as they will be when read


def _checksum(values: Tensor) -> int:
    return zlib.crc32(values.contiguous().numpy().tobytes())


def write_checkpoint(folder: Path, run: Any, settings: dict[str, Any]) -> None:
    """Write weights, average, optimiser state, step and history of a run."""
    tensors = {f"model/{name}": t for name, t in run.model.state_dict().items()}
    tensors |= {f"average/{name}": t for name, t in run.average.items()}
    for index, state in run.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{index}/{key}": t for key, t in state.items()}
    about = {
        "version": VERSION,
        "settings": settings,
        "step": run.step,
        "best": run.best,
        "best_step": run.best_step,
        "rows": run.rows,
    }
    with whole_folder(folder, overwrite=True) as temporary:
        save_file(
            {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()},
            temporary / "state.safetensors",
        )
        text = json.dumps(about, indent=2, default=float)
        (temporary / "state.json").write_text(text + "\n", encoding="utf-8")


def read_checkpoint(folder: Path, run: Any, settings: dict[str, Any]) -> None:
    """Put a run where the checkpoint stands.

    Raises:
        ValueError: for a damaged checkpoint, or one of other settings or data (naming them).
    """
    try:
        about = json.loads((folder / "state.json").read_text(encoding="utf-8"))
        tensors = load_file(folder / "state.safetensors")
        if about["version"] != VERSION:
            raise ValueError(f"version {about['version']}, not {VERSION}")
        _compare(folder, about["settings"], settings)
        _restore(run, tensors)
        run.step, run.rows = about["step"], about["rows"]
        run.best, run.best_step = about["best"], about["best_step"]
    except (OSError, SafetensorError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"the checkpoint {folder} is damaged ({error!r}); remove it to start anew"
        ) from error


def _compare(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(
                f"the checkpoint {folder} is of another run: {key} was {found.get(key)}, "
                f"now {value}; "
                "call with the same settings and data, or take another folder"
            )


def _restore(run: Any, tensors: dict[str, Tensor]) -> None:
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        part, rest = name.split("/", 1)
        parts[part][rest] = tensor
    where = next(run.model.parameters()).device
    run.model.load_state_dict(parts["model"])
    run.average = {name: parts["average"][name].to(where) for name in run.average}
    state = run.optimiser.state_dict()
    state["state"] = {}
    for name, tensor in parts["optimiser"].items():
        index, key = name.split("/")
        state["state"].setdefault(int(index), {})[key] = tensor
    run.optimiser.load_state_dict(state)


class Log:
    """Creates the writer of ``log.csv``, and of TensorBoard events if that package is installed.

    The file is written whole from the history each time, so a resumed run never repeats a row.
    """

    def __init__(self, folder: Path) -> None:
        """Open the TensorBoard events, if they can be."""
        self.folder, self.board = folder, None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(folder / "tensorboard"))

    def write(self, rows: list[dict[str, float]]) -> None:
        """Write all rows of the history; the last one goes to TensorBoard."""
        with (
            whole_file(self.folder / "log.csv") as path,
            path.open("w", newline="", encoding="utf-8") as out,
        ):
            writer = csv.DictWriter(out, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        if self.board is not None:
            for key in ("loss", "bits_per_dim"):
                self.board.add_scalar(key, rows[-1][key], int(rows[-1]["step"]))

    def __enter__(self) -> "Log":
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the TensorBoard events."""
        if self.board is not None:
            self.board.close()
