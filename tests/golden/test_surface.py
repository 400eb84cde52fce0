"""Names, signatures, options and keys are those that other programs were written against."""

import json
from pathlib import Path

from golden.surface import surface

KEPT = Path(__file__).parent / "surface.json"


def test_nothing_that_a_caller_can_name_has_changed():
    golden = json.loads(KEPT.read_text())
    now = json.loads(json.dumps(surface()))
    for part, names in golden.items():
        changed = {n: (x, now[part].get(n)) for n, x in names.items() if now[part].get(n) != x}
        assert not changed, f"{part}: {changed}; a change that is meant remakes surface.json"
        assert not now[part].keys() - names.keys(), "a new name remakes surface.json"
