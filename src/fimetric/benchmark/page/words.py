"""How the report names groups and sets."""


def groups(size: int, arrangement: str = "") -> str:
    """Return what is judged together, such as ``random groups of 5``.

    >>> groups(1, "random")
    'single samples'
    >>> groups(5)
    'groups of 5'
    """
    return "single samples" if size == 1 else f"{arrangement} groups of {size}".lstrip()


def short(own: str, other: str) -> str:
    """Return the foreign set's name, a variant's without the name of the set it is made of.

    >>> short("mnist", "mnist, rotated")
    'rotated'
    """
    return other.removeprefix(f"{own}, ")
