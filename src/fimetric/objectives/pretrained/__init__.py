"""Models that others trained, opened where they lie. One file per library, one row each.

request      what is asked of a model besides where it lies, and what is remembered of it
places       where a source lies: a folder, a file, a name on the hub
chosen       which parameters are differentiated
own          models that ``fimetric train`` has written
python       objectives that a function of a user's own file returns
diffusers    pipelines, denoisers and autoencoders of the library diffusers
transformers language models of the library transformers: causal, masked, sequence to sequence
peft         adapters of the library peft, on such models
gguf         language models in GGUF files
libraries    what libraries say of files that they cannot open
weights      whether the weights that were read are those of the model

diffusers_folder  which parts are in such a folder, and each of them opened
diffusers_told    what a denoiser is told besides a noisy picture
frozen            encoders of pictures and words, which are not differentiated
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from fimetric.arguments import seed_of, whole, whole_or_none
from fimetric.models.devices import known_device
from fimetric.objectives.base import Objective
from fimetric.objectives.pretrained import diffusers, gguf, own, peft, python, transformers
from fimetric.objectives.pretrained.chosen import choose, patterns_of
from fimetric.objectives.pretrained.places import find
from fimetric.objectives.pretrained.request import Found, Loader, Opened, Request

LOADERS: tuple[Loader, ...] = (
    own.LOADER,
    diffusers.LOADER,
    peft.LOADER,
    gguf.LOADER,
    transformers.LOADER,
)
"""In the order in which they are asked whether they know a folder or file."""


def from_pretrained(
    source: str | Path,
    timesteps: Sequence[int] | None = None,
    draws: int = 1,
    seed: int = 0,
    device: str = "cpu",
    parameters: str | Sequence[str] | None = None,
    *,
    dtype: str | torch.dtype | None = None,
    condition: str | None = None,
    window: int | None = None,
    positions: int | None = None,
    base: str | Path | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> Objective:
    """Return the objective of a model that lies in a folder or file, or on the hub.

    An argument that does not concern the kind of model is refused. Weights are read from
    safetensors, or by ``weights_only=True``; a folder on this machine makes no network call.

    Arguments:
        source: a folder or file, a name on the Hugging Face hub, or ``file.py:function``: a
            function without arguments of a file of your own, which is run, and returns an
            objective.
        timesteps: of a diffusion model, several by default.
        draws: noise draws of a loss that has noise.
        seed: of the noise, and of which positions are drawn; 0 leaves what a function returns
            with the seed that it has.
        device: cpu, cuda, cuda:1, mps ...
        parameters: which are differentiated: a pattern as of a shell, such as ``*.lora_*``, or a
            list of them; all that the model leaves trainable if None.
        dtype: number format of the weights, such as ``bfloat16``; losses are float32 at least.
        condition: the column that a conditional model is told, such as ``label`` or ``prompt``.
        window: most tokens of a text; longer ones are cut to it, and refused if None.
        positions: how many positions of a text a masked model is asked for; all if None.
        base: the model that an adapter was trained on, where its folder does not say or lies; one
            of the hub may be ``owner/name@commit``.
        revision: of a model of the hub.
        trust_remote_code: run the code that lies beside a model. It can do anything.

    Raises:
        FileNotFoundError: for a source that leads nowhere.
        ValueError: for a folder of no known kind, or of a model without a likelihood, saying what
            it is; for damaged files; for an argument that does not concern the model, or is out of
            range.
        TypeError: for a function that returns no objective.
        ImportError: where a library is missing, saying which.
    """
    patterns_of(parameters)
    request = Request(
        timesteps, whole("draws", draws), seed_of(seed), str(known_device(device)), parameters,
        dtype, condition, whole_or_none("window", window), whole_or_none("positions", positions),
        base, revision, trust_remote_code,
    )  # fmt: skip
    if python.split(str(source)):
        return _opened(python.LOADER, Found(Path(source), str(source)), request)
    python.refuse_nameless(source)
    found = find(source, revision)
    for loader in LOADERS:
        if loader.recognises(found.path):
            return _opened(loader, found, request)
    known = "; ".join(loader.words for loader in (*LOADERS, python.LOADER))
    hint = " (pickled models are not read, they can run code)" if found.path.is_file() else ""
    raise ValueError(f"{source} is no model that is known here{hint}, which are: {known}")


def words_of(kind: str) -> str:
    """Return what a loader opens, in words, by its name in ``Opened.kind``."""
    return next(each.words for each in (*LOADERS, python.LOADER) if each.kind == kind)


def _opened(loader: Loader, found: Found, request: Request) -> Objective:
    of_hub = frozenset(("revision",) if found.commit else ())
    request.refuse_others(loader.takes | of_hub, f"{loader.words} ({found.said})")
    request = loader.complete(found, request)
    objective, shape = loader.open(found, request)
    choose(objective.module, request.parameters)
    source = found.said if found.commit or loader is python.LOADER else str(found.path.resolve())
    objective.opened = Opened(
        loader.kind,
        source,
        found.commit,
        _plain(request),
        shape,
        loader.code or request.trust_remote_code,
    )
    return objective


def _plain(request: Request) -> dict[str, Any]:
    """Return what was asked for as values for JSON, without what another machine need not know."""
    asked = replace(request, device="cpu", revision=None).asked()
    return {name: _of_json(value) for name, value in asked.items()}


def _of_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_of_json(each) for each in value]
    return value if isinstance(value, int) else str(value).removeprefix("torch.")
