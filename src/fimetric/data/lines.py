"""Lines and files of text in UTF-8, read one by one; what is damaged is named by its line."""

from collections.abc import Iterator
from pathlib import Path

from fimetric.data.names import printable

LONGEST = 64 << 20  # bytes of a line or of a text in a file of its own
BOM = b"\xef\xbb\xbf"


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file, each with its number, from 1 on, and with its end.

    Raises:
        ValueError: naming a line that is no text in UTF-8, or longer than ``LONGEST`` bytes.
    """
    number, name = 0, printable(path)
    with path.open("rb") as file:
        while line := file.readline(LONGEST + 1):
            number += 1
            yield number, _decoded(line, f"{name}, line {number}", number == 1)


def whole(path: Path) -> str:
    """Return the text in a file, without the end of its last line, all lines ending in one way.

    Raises:
        ValueError: see ``lines``.
    """
    with path.open("rb") as file:
        text = _decoded(file.read(LONGEST + 1), printable(path), True)
    return text.replace("\r\n", "\n").rstrip("\n")


def _decoded(data: bytes, where: str, first: bool) -> str:
    if len(data) > LONGEST:
        raise ValueError(
            f"{where} has more than {LONGEST >> 20} MiB without an end of line or file; a sample "
            "of text is read up to that, so cut it"
        )
    if b"\0" in data:
        raise ValueError(
            f"{where} holds NUL bytes: it is no text, or text in UTF-16; save it as UTF-8"
        )
    try:
        return (data.removeprefix(BOM) if first else data).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{where} is no text in UTF-8 (byte {error.start} is "
            f"0x{error.object[error.start]:02x}); save it as UTF-8"
        ) from error
