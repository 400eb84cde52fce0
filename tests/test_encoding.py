"""Text is written as UTF-8 whatever the locale, and no name is too strange for a screen."""

import ast
import io
from pathlib import Path

import fimetric
from fimetric.cli import take_any_name

TEXT = ("open", "read_text", "write_text", "fdopen")


def calls_without_encoding(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        told = any(keyword.arg == "encoding" for keyword in node.keywords)
        modes = [a.value for a in node.args if isinstance(a, ast.Constant)]
        binary = any(isinstance(mode, str) and mode in ("rb", "wb", "ab", "r+b") for mode in modes)
        of_file = name != "open" or modes or not node.args  # others open pictures and data sets
        if name in TEXT and of_file and not told and not binary:
            found.append(ast.unparse(node))
    return found


def test_every_text_file_is_opened_with_its_encoding():
    assert calls_without_encoding("p.open('w')\np.read_text()\np.open('rb')\nImage.open(x)") == [
        "p.open('w')",
        "p.read_text()",
    ]
    for file in Path(fimetric.__file__).parent.rglob("*.py"):
        assert calls_without_encoding(file.read_text(encoding="utf-8")) == [], file


def test_a_narrow_screen_takes_any_name():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    take_any_name(stream)
    stream.write("\u65e5\udcff")
    stream.flush()
    assert stream.buffer.getvalue() == rb"\u65e5\udcff"
