"""How the sets of a study look, the same in every picture."""

from fimetric.report.pictures import COLOURS, ID_COLOUR, STYLES


def look(k: int, name: str) -> tuple[str, str, str]:
    """Return colour, line style and label of the k-th set; the 0th is in-distribution and black."""
    colour = ID_COLOUR if k == 0 else COLOURS[(k - 1) % len(COLOURS)]
    return colour, STYLES[k % len(STYLES)], f"{name} (in)" if k == 0 else name
