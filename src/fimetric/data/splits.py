"""What the parts of a data set are called, in files and folders."""

from collections.abc import Collection

SYNONYMS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}


def split_named(name: str) -> str | None:
    """Return the split that a file or folder of this name holds: train, validation, test or None.

    Example:
        >>> split_named("Training"), split_named("val"), split_named("bus")
        ('train', 'validation', None)
    """
    found = (split for split, names in SYNONYMS.items() if name.lower() in names)
    return next(found, None)


def refuse_unknown(where: object, split: str, known: Collection[str]) -> None:
    """Refuse a split that is not among those of a source.

    Raises:
        ValueError: naming those that it has.
    """
    if split not in known:
        ordered = [name for name in SYNONYMS if name in known]
        ordered += sorted(set(known) - set(ordered))
        raise ValueError(f"{where} has no split {split!r}; it has {', '.join(ordered)}")
