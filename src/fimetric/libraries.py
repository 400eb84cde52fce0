"""Libraries that not everybody has."""

import importlib
from typing import Any


def library(name: str, install: str) -> Any:
    """Return a library.

    Arguments:
        name: of its module.
        install: what pip installs it by.

    Raises:
        ImportError: where it, or a library that it needs, is missing, saying what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"this needs {name}, which cannot be imported ({error}); pip install '{install}'"
        ) from error
