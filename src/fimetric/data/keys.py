"""Which entry of a dictionary, table or archive is the data: one vocabulary for all."""

from collections.abc import Iterable

ALONE = ("x", "image", "images", "img")
"""Names of data; one of them alone stands for the tensor itself, as any name does but the next."""
ARGUMENTS = ("pixel_values", "input_ids", "input_values", "input_features")
"""Names of data too, as arguments of a model, which is why a dictionary of them stays one."""
LABELS, IDS = ("label", "labels"), ("id", "path")
TOLD = ("prompt", "source")
"""What a sample was made from or for: kept beside the data where it is text."""
TEXT_NAMES = ("text", "content", "sentence", "document", "article", "review")
"""Names of the column of texts, where there are others."""
SOUND_NAME = "audio"
ROW_NAMES = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls the names of rows that it writes into a file."""
TOKENS, MASK = "input_ids", "attention_mask"
PADDED = (TOKENS, MASK, "token_type_ids")
"""What a text has for each token, with 0 at padding."""
COMPANIONS = (*PADDED[1:], "position_ids")


def stands_alone(names: Iterable[str]) -> bool:
    """Return whether a dictionary of these entries stands for the one tensor in it.

    Example:
        >>> stands_alone(["data"]), stands_alone(["input_ids"]), stands_alone(["x", "weight"])
        (True, False, False)
    """
    entries = list(names)
    return len(entries) == 1 and entries[0] not in ARGUMENTS + COMPANIONS


def likely_key(names: Iterable[str]) -> str:
    """Return the entry that is the data, or the first one where a function takes several.

    Raises:
        ValueError: for a batch without entries.
    """
    entries = list(names)
    if not entries:
        raise ValueError("the batch has no entries; give one called 'x'")
    try:
        return data_key(entries, "the batch")
    except ValueError:
        return next((name for name in ALONE + ARGUMENTS if name in entries), entries[0])


def data_key(names: Iterable[str], where: str) -> str:
    """Return which of the entries is the data: the one of a known name, or else the only one.

    Labels, ids and what goes with the tokens of a text are no data.

    Arguments:
        names: of the entries.
        where: what has them, for the message.

    Raises:
        ValueError: where none or several could be, listing the entries.

    Example:
        >>> data_key(["label", "attention_mask", "input_ids"], "the batch")
        'input_ids'
    """
    entries = list(names)
    known = [name for name in entries if name in ALONE + ARGUMENTS]
    others = [name for name in entries if name not in LABELS + IDS + COMPANIONS]
    for found in (known, others):
        if len(found) == 1:
            return found[0]
    raise ValueError(
        f"it cannot be told which entry of {where} is the data: it has "
        f"{', '.join(map(str, entries)) or 'none'}; call it 'x', and leave out "
        f"{'all but one of ' + ', '.join(known) if known else 'what is no data'}"
    )
