"""What libraries say of files that they cannot open, in words that tell what to do."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager


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
