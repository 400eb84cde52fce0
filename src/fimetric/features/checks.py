"""Tables that agree in themselves and with others, and what is said of those that do not.

A table is a ``Features``, whose file imports this one.
"""

from typing import Any


def check_shapes(features: Any) -> None:
    """Refuse a table whose arrays disagree.

    Raises:
        ValueError: naming the array.
    """
    values, J, V = features.values, len(features.names), len(features.views)
    P = len(features.part_names)
    if V == 0:
        raise ValueError("a table needs at least one view, whose losses it has")
    if values.ndim != 2:
        raise ValueError(f"values has shape {values.shape}; it must be (N, J)")
    samples = len(values) * features.group_size
    if len(features.ids) != samples:
        raise ValueError(
            f"{len(features.ids)} ids for {len(values)} groups of {features.group_size} samples"
        )
    shapes: dict[str, tuple[int, ...]] = {"values": (len(values), J), "losses": (samples, V)}
    shapes |= {"bounds": (J,), "numels": (J,), "dimensions": (samples,), "parts": (samples, P)}
    for name, shape in shapes.items():
        if getattr(features, name).shape != shape:
            raise ValueError(
                f"{name} has shape {getattr(features, name).shape}, but {J} names, {V} views, {P} "
                f"part_names and {len(values)} groups of {features.group_size} make it {shape}"
            )


def check_different(kind: str, names: tuple[str, ...]) -> None:
    """Refuse names that repeat.

    Raises:
        ValueError: listing those that do.
    """
    if len(set(names)) < len(names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{kind} names must differ; repeated: {', '.join(map(repr, repeated))}")


def difference(name: str, first: Any, part: Any, place: int) -> str:
    """Return what to say of two tables that do not go together.

    Arguments:
        name: of the field in which they differ.
        first, part: the tables.
        place: number of the latter.
    """
    caches = sorted({*part.unsteady} ^ {*first.unsteady})
    told = (
        f"; a forward pass changed {', '.join(caches)} for one of them alone, as it fills a cache: "
        "run the model once on a batch of the data before both"
    )
    return (
        f"cannot concatenate: {name} of part {place} differs from part 0's "
        f"({_short(getattr(part, name))} against {_short(getattr(first, name))}); "
        f"extract all parts with the same model and objective{told if caches else ''}"
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
