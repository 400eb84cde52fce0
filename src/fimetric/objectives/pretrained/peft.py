"""Adapters that the library peft has saved, on the models that they were trained on."""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from fimetric.arguments import shown
from fimetric.data.hub import looks_like_a_name
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained.libraries import library, opening
from fimetric.objectives.pretrained.places import find, said_by
from fimetric.objectives.pretrained.request import Found, Loader, Request
from fimetric.objectives.pretrained.transformers import (
    AGAIN,
    OF_KINDS,
    TOKENIZER_CONFIG,
    WEIGHTS,
    kind_of,
    model_of,
    recognises,
    refuse_absent,
    tokenizer_of,
)

CONFIG = "adapter_config.json"
FORMER_NAME = ".*is_gradient_checkpointing"
"""By which peft asks transformers, which warns of it in every call."""
TASKS = (None, "CAUSAL_LM", "SEQ_2_SEQ_LM")


def _base(found: Found, request: Request) -> Found:
    """Return the model that an adapter was trained on.

    Raises:
        ValueError: where it is neither given nor to be found.
    """
    if request.base is not None:
        return _language_model(find(request.base, None))
    named = said_by(found.path / CONFIG).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise ValueError(f"{found.said} names no model that it was trained on; give base=FOLDER")
    for path in (found.path / named, Path(named)):
        if path.exists():
            return _language_model(Found(path, str(path)))
    if not looks_like_a_name(named):
        raise ValueError(
            f"{found.said} was trained on {named}, which is not there; give base=FOLDER"
        )
    return _language_model(find(named, None))


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
        wanted = peft.get_peft_model_state_dict(adapted)
    refuse_absent(found.said, sorted(wanted.keys() - kept.keys()))
    made: nn.Module = adapted.eval()
    return made


def _open(found: Found, request: Request) -> tuple[Objective, None]:
    """Return the objective of an adapter on its base.

    Raises:
        ValueError: for an adapter of a classifier and the like.
    """
    task: Any = said_by(found.path / CONFIG).get("task_type")
    if task not in TASKS:
        raise ValueError(
            f"{found.said} is an adapter for the task {shown(task)}, which has no likelihood of a "
            "text; one of a language model would do"
        )
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
)
