"""Language models that the library transformers has saved: causal, masked, sequence to sequence."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fimetric.libraries import library
from fimetric.objectives.base import Objective
from fimetric.objectives.language import CausalLM
from fimetric.objectives.masked import MaskedLM
from fimetric.objectives.pretrained.libraries import opening
from fimetric.objectives.pretrained.places import said_by
from fimetric.objectives.pretrained.request import Found, Loader, Request, format_named
from fimetric.objectives.pretrained.weights import AGAIN, refuse_others
from fimetric.objectives.seq2seq import Seq2SeqLM

CONFIG, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"


@dataclass(frozen=True)
class Kind:
    """One kind of language model.

    Arguments:
        words: what it is.
        auto: the class of transformers that opens all models of this kind.
        table: name of its table, type of model -> class.
        takes: names of the arguments that concern it.
        objective: model, tokenizer and request -> its loss.
    """

    words: str
    auto: str
    table: str
    takes: frozenset[str]
    objective: Callable[[nn.Module, Any, Request], Objective]

    def classes(self) -> dict[str, str]:
        """Return type of model -> class, as transformers knows them."""
        auto = library("transformers", "fimetric[text]").models.auto.modeling_auto
        found: dict[str, str] = dict(getattr(auto, self.table))
        return found


KINDS = (
    Kind(
        "a causal language model",
        "AutoModelForCausalLM",
        "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
        frozenset(("window",)),
        lambda model, tokenizer, asked: CausalLM(model, tokenizer, asked.window),
    ),
    Kind(
        "a sequence-to-sequence model",
        "AutoModelForSeq2SeqLM",
        "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES",
        frozenset(("condition",)),
        lambda model, tokenizer, asked: Seq2SeqLM(model, tokenizer, asked.condition),
    ),
    Kind(
        "a masked language model",
        "AutoModelForMaskedLM",
        "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
        frozenset(("positions",)),
        lambda model, tokenizer, asked: MaskedLM(model, tokenizer, asked.positions, asked.seed),
    ),
)
OF_KINDS = frozenset[str]().union(*(kind.takes for kind in KINDS))
WEIGHTS = frozenset(("dtype", "revision", "trust_remote_code"))


def recognises(path: Path) -> bool:
    """Return whether a folder is of transformers, told by its config.json alone."""
    said = said_by(path / CONFIG)
    foreign = {"_class_name", "_diffusers_version"} & said.keys()
    return not foreign and bool({"model_type", "architectures", "auto_map"} & said.keys())


def kind_of(found: Found, request: Request) -> Kind:
    """Return which kind of language model lies in a folder, whose own code may run.

    Raises:
        ValueError: for a model without a likelihood of texts, saying what it is; for code of
            somebody's own that nobody allowed to run; for arguments of another kind of model.
    """
    said = said_by(found.path / CONFIG)
    own = _own_code(found, request)
    known = [kind for kind in KINDS if kind.auto in own] if own else _known(said)
    if len(known) != 1:
        raise ValueError(_refusal(found.said, said, own))
    request.refuse_others(
        known[0].takes | WEIGHTS | frozenset(("base",)), f"{known[0].words} ({found.said})"
    )
    return known[0]


def _own_code(found: Found, request: Request) -> dict[str, Any]:
    """Return which classes of transformers a folder replaces by its own.

    Raises:
        ValueError: where it does, and its code may not run.
    """
    said, files = said_by(found.path / CONFIG), (CONFIG, TOKENIZER_CONFIG)
    having = [name for name in files if said_by(found.path / name).get("auto_map")]
    if having and not request.trust_remote_code:
        native = any(said.get("model_type") in kind.classes() for kind in KINDS)
        remedy = f", or delete auto_map from {' and '.join(having)}: transformers knows " + str(
            said.get("model_type")
        )
        raise ValueError(
            f"{found.said} brings code of its own (auto_map in {' and '.join(having)}), which can "
            "do anything and is not run; read it, and pass trust_remote_code=True "
            f"(--trust-remote-code) to run it{remedy * native}"
        )
    own = said.get("auto_map") or {}
    return dict(own) if isinstance(own, dict) else {}


def _known(said: dict[str, Any]) -> list[Kind]:
    """Return the kinds of which a model is, by its class, or else by its type."""
    architecture = _architecture(said)
    if architecture is None:
        return [kind for kind in KINDS if said.get("model_type") in kind.classes()]
    named = [kind for kind in KINDS if architecture in kind.classes().values()]
    return named[:1]  # BART's one class is in the table of masked models as well


def _architecture(said: dict[str, Any]) -> str | None:
    named = said.get("architectures")
    return str(named[0]) if isinstance(named, list) and named else None


def _refusal(source: str, said: dict[str, Any], own: dict[str, Any]) -> str:
    """Return what a model is that has no likelihood of texts, and what would do."""
    architecture, kind = _architecture(said), said.get("model_type")
    would = [each.classes()[str(kind)] for each in KINDS if kind in each.classes()]
    would_do = ", ".join(dict.fromkeys(would)) or "a causal, masked or sequence-to-sequence model"
    if own:
        return (
            f"{source} brings code for {', '.join(own)}, and for none of "
            f"{', '.join(each.auto for each in KINDS)}, which have a likelihood of texts"
        )
    if architecture is None:
        return (
            f"{source}: its {CONFIG} names no class under 'architectures', so it cannot be told "
            f"which model of type {kind} it is; add it: {would_do}"
        )
    what = "a classifier" if "Classification" in architecture else "a model for another task"
    if architecture.endswith(("Model", "Encoder")):
        what = "a model without the layer that predicts tokens"
    return (
        f"{source} is {architecture}, {what}, which has no likelihood of a text; what would do is "
        f"{would_do}"
    )


def model_of(found: Found, kind: Kind, request: Request) -> nn.Module:
    """Return the model in a folder, in float32 if nothing else is asked for.

    Raises:
        ValueError: for files that are missing, damaged or pickled, or hold another model.
    """
    quantised = "quantization_config" in said_by(found.path / CONFIG)
    dtype = format_named(request.dtype) or ("auto" if quantised else torch.float32)
    trusted = request.trust_remote_code
    return loaded(kind, found.path, found.said, dtype=dtype, trust_remote_code=trusted)


def loaded(kind: Kind, folder: Path, said: str, **options: Any) -> nn.Module:
    """Return a model in evaluation mode, all of whose weights were read.

    Raises:
        ValueError: where its files are missing, damaged or pickled, or of another model.
    """
    auto = getattr(library("transformers", "fimetric[text]"), kind.auto)
    with opening(said, AGAIN):
        model, told = auto.from_pretrained(
            folder,
            local_files_only=True,
            weights_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused here, by their names
            **options,
        )
    refuse_others(said, told, model.state_dict())
    made: nn.Module = model.eval()
    return made


def tokenizer_of(found: Found, request: Request) -> Any:
    """Return the tokenizer in a folder.

    Raises:
        ValueError: where there is none, or its files are damaged.
    """
    transformers = library("transformers", "fimetric[text]")
    with opening(
        f"the tokenizer of {found.said}", "Save it there by tokenizer.save_pretrained(folder)"
    ):
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            found.path, local_files_only=True, trust_remote_code=request.trust_remote_code
        )
    files = {TOKENIZER_CONFIG, "tokenizer.json", *tokenizer.vocab_files_names.values()}
    if not any((found.path / name).is_file() for name in files):
        raise ValueError(  # transformers makes one without words
            f"{found.said} has no tokenizer; save the model's own there by "
            "tokenizer.save_pretrained(folder)"
        )
    return tokenizer


def _open(found: Found, request: Request) -> tuple[Objective, None]:
    kind = kind_of(found, request)
    model = model_of(found, kind, request).to(request.device)
    return kind.objective(model, tokenizer_of(found, request), request), None


LOADER = Loader(
    "transformers",
    "a causal, masked or sequence-to-sequence language model of transformers",
    OF_KINDS | WEIGHTS,
    recognises,
    _open,
)
