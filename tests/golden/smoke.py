"""All scores of the smoke benchmark, on models that are kept here: remade, kept, compared.

Trained anew on another processor the models themselves would be others. On the kept ones scores
are the same bits where the processor is the same; elsewhere 99 of 100 agree to 1e-3 of the
interquartile range of own scores, and all to .05: methods that invert or rank nearly equal numbers
move more than those that sum.
"""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from fimetric.benchmark.config import read
from fimetric.benchmark.run import run
from fimetric.benchmark.writing import write

KEPT = Path(__file__).parent / "smoke"
MOST, ALL, SHARE = 1e-3, 0.05, 0.99
WHERE = ["model", "method", "group_size", "arrangement"]


def made(folder: Path) -> pd.DataFrame:
    """Return the scores as the program makes them now, in a run in ``folder``."""
    grid = replace(read("smoke"), checkpoints=str(KEPT))
    write(run(grid, folder, progress=False), grid, folder)
    return pq.read_table(folder / "scores.parquet").to_pandas()


def kept() -> pd.DataFrame:
    return pq.read_table(KEPT / "scores.parquet").to_pandas()


def distances(found: pd.DataFrame, golden: pd.DataFrame) -> pd.Series:
    """Return how far each score is from the kept one, in interquartile ranges of own scores."""
    own = golden[golden.set == "test"].groupby(WHERE)["score"]
    width = (own.quantile(0.75) - own.quantile(0.25)).rename("width")
    widths = golden.join(width, on=WHERE)["width"]
    return (found.score - golden.score).abs() / widths
