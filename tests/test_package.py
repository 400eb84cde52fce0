"""What ``import fimetric`` brings."""

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
