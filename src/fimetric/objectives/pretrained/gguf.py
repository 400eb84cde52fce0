"""Language models in GGUF files, as llama.cpp reads them, opened by transformers."""

from pathlib import Path

import torch

from fimetric.libraries import library
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.libraries import opening
from fimetric.objectives.pretrained.request import Found, Loader, Request, format_named
from fimetric.objectives.pretrained.transformers import KINDS, OF_KINDS, Kind, loaded
from fimetric.objectives.pretrained.weights import AGAIN

SUFFIX, MAGIC = ".gguf", b"GGUF"
TAKES = frozenset(("dtype", "revision"))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(file for file in path.iterdir() if file.suffix.lower() == SUFFIX)
    return [path] if path.suffix.lower() == SUFFIX else []


def _recognises(path: Path) -> bool:
    return bool(_files(path)) and not any(path.glob("*.safetensors"))


def _file(found: Found) -> Path:
    """Return the one file that is meant.

    Raises:
        ValueError: for a folder with several, and for a file that is none of GGUF.
    """
    files = _files(found.path)
    if len(files) > 1:
        raise ValueError(
            f"{found.said} has {len(files)} GGUF files: {', '.join(f.name for f in files)}; name "
            f"one of them, such as {found.path / files[0].name}"
        )
    with files[0].open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{files[0]} is no GGUF file: it does not begin as one. {AGAIN}")
    return files[0]


def _kind(type_of_model: str, said: str) -> Kind:
    """Return which kind of language model is in a file; of several, the first.

    Raises:
        ValueError: for a model without a likelihood of texts.
    """
    for kind in KINDS:
        if type_of_model in kind.classes():
            return kind
    raise ValueError(
        f"{said} holds a model of type {type_of_model}, which has no likelihood of a text; a "
        "causal language model would do"
    )


def _open(found: Found, request: Request) -> tuple[Objective, None]:
    transformers = library("transformers", "fimetric[text]")
    for name in ("gguf", "accelerate"):
        library(name, "fimetric[gguf]")
    file = _file(found)
    here = {"gguf_file": file.name, "local_files_only": True}
    with opening(str(file), AGAIN):
        config = transformers.AutoConfig.from_pretrained(file.parent, **here)
        tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, **here)
    kind = _kind(config.model_type, found.said)
    request.refuse_others(kind.takes | TAKES, f"{kind.words} ({found.said})")
    dtype = format_named(request.dtype) or torch.float32
    model = loaded(kind, file.parent, str(file), gguf_file=file.name, dtype=dtype)
    return kind.objective(model.to(request.device), tokenizer, request), None


LOADER = Loader("gguf", "a GGUF file of a language model", OF_KINDS | TAKES, _recognises, _open)
