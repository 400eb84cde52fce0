"""What one forward pass gave, for whoever asks again with the same samples.

A loss and its parts are made of the same intermediate results: latents, logits, a likelihood at a
draw. Who listens to the loss being computed can answer with these results when parts are asked for,
so that parts take no pass of their own.
"""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Lock, get_ident
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from fimetric.fingerprint.structure import Passing

Shared = tuple[nn.Module, str]  # a module and the name of a method of it
Handler = Callable[[Shared, Callable[..., Any], Any], Any]
_LOCK = Lock()


class OnePass:
    """Remembers what methods gave, without graphs, and lets them give it again.

    A method that is called with other arguments than those that it was heard with runs as ever, and
    so does one whose arguments or results were changed in place since. Other threads see nothing.

    Arguments:
        methods: modules and the names of their methods, functions of their arguments alone.
    """

    def __init__(self, methods: list[Shared]) -> None:
        self.methods = methods
        self._heard: list[tuple[Shared, Any, Any]] = []

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Remember what the methods give, for a while."""
        with self._replaced(self._remembered):
            yield

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Let the methods give what is remembered, for a while."""
        with self._replaced(self._again):
            yield

    def _remembered(self, method: Shared, call: Callable[..., Any], given: Any) -> Any:
        found = call()
        self._heard.append((method, tree_map(_Kept, given), tree_map(_Kept, found)))
        return found

    def _again(self, method: Shared, call: Callable[..., Any], given: Any) -> Any:
        for heard, arguments, found in self._heard:
            same = heard[0] is method[0] and heard[1] == method[1]
            if same and _equal(arguments, given) and _untouched(found):
                return tree_map(lambda kept: kept.value, found)
        return call()

    @contextmanager
    def _replaced(self, by: Handler) -> Iterator[None]:
        with ExitStack() as undone:
            for module, name in self.methods:
                undone.enter_context(_replaced(module, name, by))
            yield


class _Kept:
    """A value without its graph, and whether it is still what it was."""

    def __init__(self, value: Any) -> None:
        self.value = value.detach() if isinstance(value, Tensor) else value
        self._version = _version(self.value)  # a tensor without its graph counts with the original

    @property
    def untouched(self) -> bool:
        return self._version == _version(self.value)


def _version(value: Any) -> int:
    counted = isinstance(value, Tensor) and not value.is_inference()
    return value._version if counted else 0


class _Dispatcher(Passing):
    """Stands in for a method, and asks the handler of the thread that calls it, if it has one."""

    def __init__(self, module: nn.Module, name: str) -> None:
        self.method, self.shared = getattr(module, name), (module, name)
        self.before = module.__dict__.get(name)
        self.handlers: dict[int, Handler] = {}
        try:
            self.takes: inspect.Signature | None = inspect.signature(self.method)
        except (TypeError, ValueError):  # of a method that is not written in Python
            self.takes = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        handler = self.handlers.get(get_ident())
        given = self._bound(args, kwargs)
        if handler is None or given is None:
            return self.method(*args, **kwargs)
        return handler(self.shared, lambda: self.method(*args, **kwargs), given)

    def _bound(self, args: Any, kwargs: Any) -> Any:
        """Return the arguments with their defaults; None where the method would refuse them."""
        if self.takes is None:
            return None
        try:
            bound = self.takes.bind(*args, **kwargs)
        except TypeError:
            return None
        bound.apply_defaults()
        return [list(bound.args), dict(bound.kwargs)]


@contextmanager
def _replaced(module: nn.Module, name: str, by: Handler) -> Iterator[None]:
    me = get_ident()
    with _LOCK:
        stands = module.__dict__.get(name)
        if not isinstance(stands, _Dispatcher):
            stands = module.__dict__[name] = _Dispatcher(module, name)  # of this very module
        stands.handlers[me] = by
    try:
        yield
    finally:
        with _LOCK:
            del stands.handlers[me]
            if not stands.handlers and stands.before is None:
                del module.__dict__[name]
            elif not stands.handlers:
                module.__dict__[name] = stands.before


def _untouched(found: Any) -> bool:
    return all(kept.untouched for kept in tree_flatten(found)[0])


def _equal(heard: Any, given: Any) -> bool:
    (leaves, kind), (others, other) = tree_flatten(heard), tree_flatten(given)
    return kind == other and all(
        kept.untouched and _same(kept.value, value)
        for kept, value in zip(leaves, others, strict=True)
    )


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, Tensor) and isinstance(y, Tensor):
        alike = x.shape == y.shape and x.dtype == y.dtype and x.device == y.device
        return alike and torch.equal(x, y)
    return x is y or (isinstance(x, int | float | str) and type(x) is type(y) and x == y)
