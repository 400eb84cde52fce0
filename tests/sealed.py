"""Archives edited by a hostile hand: other values under a right checksum."""

import json
from pathlib import Path
from typing import Any

import msgspec

from fimetric.store.archive import Kind


def reseal(folder: Path, kind: Kind, **fields: Any) -> None:
    """Change fields of what an archive's JSON file says, None taking one away, and seal it anew."""
    path = folder / f"{kind.name}.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    content = {**whole["content"], **fields}
    content = {k: v for k, v in content.items() if k not in fields or v is not None}
    text = json.dumps(content).encode()
    whole |= {"content": content, "sha256": kind._hash(msgspec.json.format(text), whole["arrays"])}
    path.write_text(json.dumps(whole), encoding="utf-8")
