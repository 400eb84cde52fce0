"""The logits of a language model, however it takes token ids and whatever it returns."""

import inspect
from typing import Any

from torch import Tensor, nn


def logits_of(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the logits (N, T, vocabulary) of token ids (N, T).

    Raises:
        TypeError: where the model returns no logits.
        ValueError: where they are those of other positions, or the model knows fewer tokens or
            positions than it is given.
    """
    logits = _logits_in(_output(model, tokens))
    if logits.ndim != 3 or logits.shape[:2] != tokens.shape:
        raise ValueError(
            f"token ids (N, T) = {tuple(tokens.shape)} need logits (N, T, vocabulary); the model "
            f"returns {tuple(logits.shape)}. Where it adds tokens of its own (a soft prompt, "
            "images) or leaves some out, return the logits of the given tokens alone"
        )
    return logits


def _output(model: nn.Module, tokens: Tensor) -> Any:
    given = _taken(model, {"input_ids": tokens, "use_cache": False})
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
