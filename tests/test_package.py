"""What ``import fimetric`` brings."""

import ast
from pathlib import Path

import fimetric as fm

INSIDE = {
    *("benchmark", "claims", "cli", "detection", "evaluation", "extraction", "features"),
    *("fingerprint", "gradients", "judging", "report", "store"),
}  # behind commands and classes


def test_every_room_of_the_python_interface_is_an_attribute():
    root = Path(fm.__file__).parent
    rooms = {place.parent.name for place in root.glob("*/__init__.py")}
    assert rooms - INSIDE <= set(fm.__all__)
    assert set(fm.__all__) <= set(dir(fm))


def test_no_family_is_named_where_something_is_decided():
    root = Path(fm.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Compare):
                compared = [node.left, *node.comparators]
                names = {each.value for each in compared if isinstance(each, ast.Constant)}
                assert names.isdisjoint(fm.models.FAMILIES), f"{file}:{node.lineno}"
