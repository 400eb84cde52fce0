"""The logits of a language model, however it takes token ids and whatever it returns."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def logits_of(model: nn.Module, tokens: Tensor, **others: Tensor) -> Tensor:
    """Return the logits (N, T, vocabulary) of token ids (N, T).

    Arguments:
        model: the language model.
        tokens: what it reads, called ``input_ids``.
        others: what it gets besides, by name, such as ``decoder_input_ids``, whose logits it then
            returns.

    Raises:
        TypeError: where the model returns no logits.
        ValueError: where they are those of other positions, the model knows fewer tokens or
            positions than it is given, or does not take one of the others.
    """
    wanted = others.get("decoder_input_ids", tokens).shape
    logits = _logits_in(_output(model, tokens, others))
    if logits.ndim != 3 or logits.shape[:2] != wanted:
        raise ValueError(
            f"token ids (N, T) = {tuple(wanted)} need logits (N, T, vocabulary); the model "
            f"returns {tuple(logits.shape)}. Where it adds tokens of its own (a soft prompt, "
            "images) or leaves some out, return the logits of the given tokens alone"
        )
    return logits


def logits_at(model: nn.Module, tokens: Tensor, places: Tensor, **others: Tensor) -> Tensor:
    """Return the logits (N, vocabulary) at one position of each row of token ids (N, T).

    The last layer of a model of transformers is applied at these positions alone: at all of them it
    would take T times the memory and, for its gradients, the time.

    Arguments:
        model: the language model.
        tokens: what it reads.
        places: which position of each row, (N,).
        others: what it gets besides, by name.

    Raises:
        TypeError: see ``logits_of``.
        ValueError: see ``logits_of``.
    """
    with _LastLayerAt(model, places, tokens.shape):
        logits = _logits_in(_output(model, tokens, others))
    if logits.ndim != 3 or logits.shape[:2] not in (tokens.shape, (len(tokens), 1)):
        raise ValueError(
            f"token ids (N, T) = {tuple(tokens.shape)} need logits (N, T, vocabulary); the model "
            f"returns {tuple(logits.shape)}"
        )
    return logits[:, 0] if logits.shape[1] == 1 else _at(logits, places)[:, 0]


class _LastLayerAt(TorchFunctionMode):
    """Lets the linear map to the vocabulary see one position of each row, and no other."""

    def __init__(self, model: nn.Module, places: Tensor, shape: torch.Size) -> None:
        super().__init__()
        last = getattr(model, "get_output_embeddings", lambda: None)()
        self._weight = last.weight if isinstance(last, nn.Linear) else None
        self._places, self._shape = places, shape

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, that map with fewer positions."""
        if function is nn.functional.linear and args[1] is self._weight:
            x, *rest = args
            args = (_at(x, self._places) if x.shape[:-1] == self._shape else x, *rest)
        return function(*args, **(kwargs or {}))


def _at(x: Tensor, places: Tensor) -> Tensor:
    """Return one position of each row, (N, T, D) -> (N, 1, D)."""
    return x.gather(1, places[:, None, None].expand(-1, 1, x.shape[-1]))


def _output(model: nn.Module, tokens: Tensor, others: Mapping[str, Tensor]) -> Any:
    given = _taken(model, {"input_ids": tokens, "use_cache": False, **others})
    if missing := others.keys() - given.keys():
        raise ValueError(
            f"{type(model).__name__} takes no {sorted(missing)[0]}, so that padding would count; "
            "let its forward take it, or give texts of one length"
        )
    try:
        return model(**given) if "input_ids" in given else model(tokens, **given)
    except (IndexError, RuntimeError) as error:
        if not isinstance(error, IndexError) and "out of bounds" not in str(error):
            raise
        raise ValueError(
            f"{type(model).__name__} has no row for a token id or a position ({error}): the texts "
            f"have ids up to {int(tokens.max())} and up to {tokens.shape[1]} tokens. Take its own "
            "tokenizer, or shorten the texts"
        ) from error


def _taken(model: nn.Module, named: dict[str, Any]) -> dict[str, Any]:
    """Return what the model takes by name: all, where a wrapper of transformers passes it on."""
    parameters = inspect.signature(model.forward).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    everything = passes_on and hasattr(model, "config")
    return {name: value for name, value in named.items() if everything or name in parameters}


def _logits_in(output: Any) -> Tensor:
    found = output[0] if isinstance(output, tuple) else getattr(output, "logits", output)
    if not isinstance(found, Tensor):
        raise TypeError(
            f"the model returns {type(output).__name__}; it must return logits (N, T, vocabulary), "
            "or an object with such as logits"
        )
    return found
