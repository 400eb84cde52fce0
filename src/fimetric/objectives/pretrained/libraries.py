"""Libraries that not everybody has, and what they say of files that they cannot open."""

import importlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
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
            f"this model is opened by {name}, which cannot be imported ({error}); "
            f"pip install '{install}'"
        ) from error


@contextmanager
def opening(said: str, remedy: str) -> Iterator[None]:
    """Say of an error of a library on which model it came, and what to do.

    Arguments:
        said: what the user called the model.
        remedy: what to do.

    Raises:
        ImportError: as it is: another library is missing.
        ValueError: for all others, of which there are a dozen kinds.
    """
    try:
        yield
    except ImportError:
        raise
    except pickle.UnpicklingError as error:  # torch advises to run the code
        raise ValueError(
            f"{said} cannot be opened: its weights are pickled, and damaged or more than numbers, "
            f"which can run code. {remedy}"
        ) from error
    except Exception as error:
        what = " ".join(str(error).split()).rstrip(".") or "it says no more"
        raise ValueError(
            f"{said} cannot be opened: {type(error).__name__}: {what}. {remedy}"
        ) from error
