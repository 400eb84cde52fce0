"""The modules of a study in docs/results, which other studies may have under the same names."""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from pages import DOCS


@contextmanager
def modules(name: str) -> Iterator[Callable[[str], ModuleType]]:
    """Yield what imports a module of a study by its name, as the study itself does."""
    place = DOCS / "results" / name
    own = [path.stem for path in place.glob("[a-z]*.py")]
    others = {each: sys.modules.pop(each) for each in own if each in sys.modules}
    sys.path.insert(0, str(place))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(place))
        for each in own:
            sys.modules.pop(each, None)
        sys.modules.update(others)
