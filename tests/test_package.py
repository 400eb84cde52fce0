"""What ``import fimetric`` brings."""

import ast
import re
from pathlib import Path

import pytest

import fimetric as fm

INSIDE = {
    *("benchmark", "claims", "cli", "detection", "evaluation", "extraction", "features"),
    *("fingerprint", "gradients", "judging", "report", "store"),
}  # behind commands and classes


ROOT = Path(fm.__file__).parent
ROOMS = sorted(p.parent.relative_to(ROOT) for p in ROOT.rglob("*/__init__.py"))


def test_every_room_of_the_python_interface_is_an_attribute():
    root = Path(fm.__file__).parent
    rooms = {place.parent.name for place in root.glob("*/__init__.py")}
    assert rooms - INSIDE <= set(fm.__all__)
    assert set(fm.__all__) <= set(dir(fm))


@pytest.mark.parametrize("room", ROOMS, ids=str)
def test_every_room_says_what_its_files_are(room):
    said = ast.get_docstring(ast.parse((ROOT / room / "__init__.py").read_text())) or ""
    for file in (ROOT / room).glob("*.py"):
        assert file.stem == "__init__" or re.search(rf"(?m)^{file.stem}\b", said), file


def test_no_family_is_named_where_something_is_decided():
    root = Path(fm.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                compared = [node.left, *node.comparators]
                names = {each.value for each in compared if isinstance(each, ast.Constant)}
                assert names.isdisjoint(fm.models.FAMILIES), f"{file}:{node.lineno}"
