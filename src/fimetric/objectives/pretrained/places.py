"""Where a source lies: a folder, a file, or a name on the hub."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from fimetric.arguments import folder_of
from fimetric.data.hub import looks_like_a_name
from fimetric.objectives.pretrained.request import Found
from fimetric.store.files import DENIED, FULL

PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.h5", "*.msgpack", "*.onnx", "*.ot")
_HERE_ALONE: ContextVar[bool] = ContextVar("here_alone", default=False)


@contextmanager
def here_alone() -> Iterator[None]:
    """Find models of the hub by what an earlier call has left of them here, without a call."""
    token = _HERE_ALONE.set(True)
    try:
        yield
    finally:
        _HERE_ALONE.reset(token)


def find(source: str | Path, revision: str | None) -> Found:
    """Return where a model lies; of one on the hub, a copy on this machine and its commit.

    Raises:
        FileNotFoundError: for what is neither there nor on the hub.
        ValueError: for a revision of what lies on this machine.
    """
    path = folder_of(source, "the model").expanduser()
    if path.exists():
        if revision is not None:
            raise ValueError(f"revision={revision!r} is for models of the hub; {source} lies here")
        return Found(path, str(source))
    if path.suffix == ".gguf" or not looks_like_a_name(str(source)):
        raise FileNotFoundError(f"there is no {source}; give an existing folder or file")
    return _from_hub(str(source), revision)


def _from_hub(name: str, revision: str | None) -> Found:
    """Return a model of the hub, or what an earlier call has left of it here.

    Raises:
        FileNotFoundError: where the hub does not know it, or cannot be asked.
        OSError: where its copy cannot be written here, as it is.
    """
    import huggingface_hub

    try:
        place = huggingface_hub.snapshot_download(
            name,
            revision=revision,
            ignore_patterns=list(PICKLED),
            local_files_only=_HERE_ALONE.get(),
        )
    except Exception as error:  # a dozen kinds, of several libraries
        if getattr(error, "errno", None) in (*DENIED, *FULL):
            raise
        said = " ".join(str(error).split())
        raise FileNotFoundError(
            f"{name} is no path, and the hub did not give it: {type(error).__name__}: {said}"
        ) from error
    return Found(Path(place), name, Path(place).name)


def said_by(file: Path) -> dict[str, Any]:
    """Return what a JSON file of a model says; nothing where there is none, or no object in it.

    As Python writes it: models of others have ``Infinity`` in theirs.

    Raises:
        ValueError: for what is no JSON.
    """
    if not file.is_file():
        return {}
    try:
        said = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{file} is damaged: it is no JSON ({error}); copy or fetch it again"
        ) from error
    return said if isinstance(said, dict) else {}
