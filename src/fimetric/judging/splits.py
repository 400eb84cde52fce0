"""Which rows of an own table are fitted on, calibrated on and tested.

The rows stand in an order that says nothing, such as that of a seeded permutation.
"""

from fimetric.features.table import Features


def halves(own: Features) -> tuple[Features, Features]:
    """Return the rows that densities are fitted on, and those that are scored."""
    half = len(own) // 2
    return own.select(slice(0, half)), own.select(slice(half, len(own)))


def quarters(groups: int) -> tuple[slice, slice, slice]:
    """Return the rows for density (25%), calibration (25%) and test (50%).

    Raises:
        ValueError: where a part would have fewer than two groups.
    """
    quarter = groups // 4
    if quarter < 2:
        raise ValueError(
            f"{groups} in-distribution groups are too few for density, calibration and test: "
            "8 is the least, some hundreds are better"
        )
    return slice(0, quarter), slice(quarter, 2 * quarter), slice(2 * quarter, groups)
