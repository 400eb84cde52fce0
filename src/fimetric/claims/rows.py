"""What of a table claims on layers are measured on."""

import numpy as np
from numpy.typing import NDArray

from fimetric.features.screening import informative, strange
from fimetric.features.table import Features


def informative_part(features: Features) -> tuple[Features, NDArray[np.bool_]]:
    """Return the finite rows of the layers that are informative on them, and mark these rows (N,).

    Raises:
        ValueError: where fewer than two rows are finite, or no layer is informative.
    """
    fine = ~strange(features)
    rows = features.select(fine)
    return rows.columns(np.array(features.names)[informative(rows)].tolist()), fine
