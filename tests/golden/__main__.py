"""Remake the golden files: a commit of its own, which says what changed and why.

In the root of the repository: OMP_NUM_THREADS=1 PYTHONPATH=tests python -m golden
"""

import json
import os
import tempfile
from pathlib import Path

from golden import smoke, surface, values
from golden.test_surface import KEPT

os.environ["FIMETRIC_COSTS"] = "fixed"  # as in all tests

if __name__ == "__main__":
    KEPT.write_text(json.dumps(surface.surface(), indent=1, sort_keys=True) + "\n")
    values.keep(values.made())
    with tempfile.TemporaryDirectory() as folder:
        smoke.made(Path(folder)).to_parquet(smoke.KEPT / "scores.parquet", compression="zstd")
