"""Adapters that the library peft has saved, on the models that they were trained on."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from fimetric.arguments import shown
from fimetric.data.hub import looks_like_a_name
from fimetric.libraries import library
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.libraries import opening
from fimetric.objectives.pretrained.places import find, here_alone, said_by
from fimetric.objectives.pretrained.request import Found, Loader, Request
from fimetric.objectives.pretrained.transformers import (
    OF_KINDS,
    TOKENIZER_CONFIG,
    WEIGHTS,
    kind_of,
    model_of,
    recognises,
    tokenizer_of,
)
from fimetric.objectives.pretrained.weights import AGAIN, refuse_absent, refuse_surplus

CONFIG = "adapter_config.json"
FILES = ("adapter_model.safetensors", "adapter_model.bin")
FORMER_NAME = ".*is_gradient_checkpointing"
"""By which peft asks transformers, which warns of it in every call."""
TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")


def _complete(found: Found, request: Request) -> Request:
    """Return a request that names the base: its whole path, or its name and commit on the hub.

    Raises:
        ValueError: for an adapter that is not of a language model, or has no weights or base.
    """
    _refuse_others(found, said_by(found.path / CONFIG))
    base = _base(found, request)
    whole = f"{base.said}@{base.commit}" if base.commit else str(base.path.resolve())
    return replace(request, base=whole)


def _refuse_others(found: Found, said: dict[str, Any]) -> None:
    """Refuse an adapter by what lies in its folder, before peft asks the hub for what does not.

    Raises:
        ValueError: for one of a classifier and the like, of an unknown kind, or without weights.
    """
    if (task := said.get("task_type")) not in TASKS:
        raise ValueError(
            f"{found.said} is an adapter for the task {shown(task)}, which has no likelihood of a "
            "text; one of a language model would do"
        )
    kinds = library("peft", "peft").PEFT_TYPE_TO_CONFIG_MAPPING
    if (kind := said.get("peft_type")) not in tuple(kinds):  # it may be anything
        raise ValueError(
            f"{found.said} is an adapter of the kind {shown(kind)} (peft_type in {CONFIG}), which "
            "the peft that is installed does not know; a later one may"
        )
    if not any((found.path / name).is_file() for name in FILES):
        raise ValueError(f"{found.said} has no weights: there is no {FILES[0]} in it. {AGAIN}")


def _base(found: Found, request: Request) -> Found:
    """Return the model that an adapter was trained on, as it is given, or as the adapter says.

    A path that the adapter says is seen from its folder, or from that which holds it, and else from
    the working directory.

    Raises:
        ValueError: where it is neither given nor to be found.
    """
    if request.base is not None:
        return _language_model(_found(str(request.base)))
    named = said_by(found.path / CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ValueError(f"{found.said} names no model that it was trained on; give base=FOLDER")
    own = found.path.resolve()
    for path in (own / named, own.parent / named, Path(named)):
        if path.exists():
            return _language_model(Found(path, str(path)))
    if not looks_like_a_name(named):
        raise ValueError(
            f"{found.said} was trained on {named}, which is not there; give base=FOLDER"
        )
    return _language_model(find(named, None))


def _found(base: str) -> Found:
    """Return where a base lies, which may be one of the hub with its commit behind an @."""
    name, _, commit = base.partition("@")
    of_hub = commit and looks_like_a_name(name) and not Path(base).exists()
    return find(name, commit) if of_hub else find(base, None)


def _language_model(base: Found) -> Found:
    """Return a base as it is given.

    Raises:
        ValueError: for what is no folder of transformers.
    """
    if not recognises(base.path):
        raise ValueError(f"the base {base.said} is no folder of a transformers model")
    return base


def _adapted(model: nn.Module, found: Found) -> nn.Module:
    """Return a model with its adapter, whose parameters alone are trainable.

    Raises:
        ValueError: for damaged files, and an adapter of another model.
    """
    peft = library("peft", "peft")
    remedy = f"{AGAIN}, and give the base that it was trained on (base=FOLDER)"
    with opening(found.said, remedy), warnings.catch_warnings():
        warnings.filterwarnings("ignore", FORMER_NAME, FutureWarning)
        adapted = peft.PeftModel.from_pretrained(model, str(found.path), is_trainable=True)
        kept = peft.load_peft_weights(str(found.path), device="cpu")
        wanted = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    refuse_absent(found.said, sorted(wanted.keys() - kept.keys()))
    held = wanted.keys() | adapted.state_dict().keys()
    refuse_surplus(found.said, sorted(kept.keys() - held), held)
    made: nn.Module = adapted.eval()
    return made


def _open(found: Found, request: Request) -> tuple[Objective, None]:
    """Return the objective of an adapter on its base, which a completed request names."""
    with here_alone():  # it has been found before
        base = _base(found, request)
    kind = kind_of(base, request)
    model = _adapted(model_of(base, kind, request), found).to(request.device)
    has_words = (found.path / TOKENIZER_CONFIG).is_file()
    tokenizer = tokenizer_of(found if has_words else base, request)
    return kind.objective(model, tokenizer, request), None


LOADER = Loader(
    "peft",
    "an adapter of peft on a language model of transformers",
    OF_KINDS | WEIGHTS | frozenset(("base",)),
    lambda path: (path / CONFIG).is_file(),
    _open,
    complete=_complete,
)
