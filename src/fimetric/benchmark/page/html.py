"""The benchmark as one HTML page that needs nothing else: no network, no other file.

The template, its style and its scripts lie in ``web/``. What was found goes in as JSON, which the
scripts show as text and never as HTML. The page's content security policy lets it load nothing,
and run the scripts written here alone, which it knows by their digests.
"""

import base64
import hashlib
import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fimetric.benchmark.page.averages import Average
from fimetric.benchmark.page.curves import binned
from fimetric.benchmark.results import Comparison, Curves, Ranked
from fimetric.store.files import whole_file

Key = tuple[str, str, str, int, str]  # of a Comparison
WEB = resources.files("fimetric.benchmark.page") / "web"
SCRIPTS = ("tables.js", "plots.js", "page.js")
TYPES = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg"}


def write_page(
    comparisons: Sequence[Comparison],
    averages: Sequence[Average],
    curves: Mapping[Key, Curves],
    ranked: Sequence[Ranked],
    notes: Sequence[str],
    pictures: Mapping[str, Path],
    path: Path,
) -> None:
    """Write the page: averages, every comparison with its curves, samples, pictures and notes.

    Arguments:
        comparisons: what was found.
        averages: of it, as ``averages`` returns them.
        curves: the scores behind comparisons, by their key; one without is shown without curves.
        ranked: the most and least anomalous samples.
        notes: plain text, an item of a list each.
        pictures: caption -> PNG, SVG or JPEG file.
        path: of the page.

    Raises:
        ValueError: where scores hold nan, or a picture is of another kind.
    """
    data = {
        "comparisons": _table([_comparison(c) for c in comparisons]),
        "curves": [_curve(c.key, curves) for c in comparisons],
        "averages": _table([_average(a) for a in averages]),
        "ranked": [_ranked(r) for r in ranked],
        "notes": list(notes),
        "pictures": [{"caption": name, "source": _embed(p)} for name, p in pictures.items()],
    }
    style, script = _read("page.css"), "\n".join(map(_read, SCRIPTS))
    parts = {
        "style": style,
        "script": script,
        "style_digest": _digest(style),
        "script_digest": _digest(script),
        "data": embeddable(data),
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _read("page.html"))
    with whole_file(path) as place:
        place.write_text(page, encoding="utf-8", newline="\n")  # as the digests are of


def embeddable(data: object) -> str:
    """Return JSON that can stand in a script element: it has no ``<``, so it cannot end one.

    >>> print(embeddable("</script>"))
    "\\u003c/script\\u003e"
    """
    plain = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _read(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")


def _digest(code: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()


def _comparison(c: Comparison) -> dict[str, Any]:
    return asdict(c) | {name: round(getattr(c, name), 4) for name in ("auroc", "low", "high")}


def _average(a: Average) -> dict[str, Any]:
    numbers = {name: round(getattr(a, name), 4) for name in ("mean", "lower", "upper", "worst")}
    return {
        "family": a.family,
        **a.setting._asdict(),
        **numbers,
        "where": a.where,
        "pairs": a.pairs,
    }


def _table(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return records of the same keys with each key said once."""
    keys = list(records[0]) if records else []
    return {"keys": keys, "rows": [[record[key] for key in keys] for record in records]}


def _curve(key: Key, curves: Mapping[Key, Curves]) -> object:
    if key not in curves:
        return None
    try:
        return binned(curves[key])
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def _ranked(ranked: Ranked) -> dict[str, Any]:
    samples = zip(ranked.ids, ranked.scores, ranked.images, strict=True)
    return {
        "model": ranked.model,
        "set": ranked.set,
        "method": ranked.method,
        "samples": [
            {
                "id": name,
                "score": "∞" if score == math.inf else f"{score:.4g}",
                "source": _png(image),
            }
            for name, score, image in samples
        ],
    }


def _png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", optimize=True)
    return _uri("image/png", file.getvalue())


def _embed(path: Path) -> str:
    if path.suffix not in TYPES:
        raise ValueError(f"{path} is no picture for a page; pass one of {', '.join(TYPES)}")
    return _uri(TYPES[path.suffix], path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
