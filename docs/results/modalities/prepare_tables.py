"""Write the tables of the page of modalities: small public sets that packages bring inside them.

    python docs/results/modalities/prepare_tables.py [FOLDER]

The rules were written before any result:

- Foreign is the smallest class of 25 rows or more; of equally small ones, the last by its name.
  All other classes are own.
- Columns are those that hold numbers, without the class, names of rows and what follows from the
  class or is known only after it.
- Rows with a missing value are left out, and rows that repeat another one.
- Of own rows 4000 at most are kept, of foreign ones 1000, in an order drawn by seed 0. The first
  half of the own ones trains the model and the rivals, a quarter is for density and calibration,
  the rest for the test.

Nothing is downloaded: `pip install '.[modalities]'` brings the files.
"""

import io
import json
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from sklearn import datasets

FOLDER = Path("runs/modalities/data/tables")
SMALLEST_CLASS, MOST_OWN, MOST_FOREIGN = 25, 4000, 1000
TRAIN, REFERENCE = 0.5, 0.25  # of own rows; the rest is for the test
CALIBRATION = 19  # rows that a false-alarm rate of .05 takes: half of the reference part


@dataclass(frozen=True)
class Table:
    """A table with its column of classes, and the columns that are left out of it."""

    rows: Callable[[], pd.DataFrame]
    classes: str
    without: tuple[str, ...] = ()


def of_package(package: str, file: str) -> Path:
    """Return a file inside a package, which is not imported: some print and unpack as they are."""
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ImportError(f"{package} is not installed; pip install '.[modalities]'")
    return Path(found.submodule_search_locations[0]) / file


def of_sklearn(load: Callable[..., dict]) -> Callable[[], pd.DataFrame]:
    """Return what reads a set of scikit-learn."""

    def read() -> pd.DataFrame:
        found = load(as_frame=True)
        names = [str(name) for name in found["target_names"]]
        return found["data"].assign(target=[names[k] for k in found["target"]])

    return read


def of_r(*files: str) -> Callable[[], pd.DataFrame]:
    """Return what reads sets of R packages, rows of one after the other, out of pydataset."""

    def read() -> pd.DataFrame:
        archive = of_package("pydataset", "resources.tar.gz")
        with tarfile.open(archive) as content:
            parts = [content.extractfile(f"resources/rdata/csv/{file}.csv") for file in files]
            return pd.concat([_table(part) for part in parts], ignore_index=True)

    return read


def _table(part: IO[bytes] | None) -> pd.DataFrame:
    assert part is not None
    return pd.read_csv(io.BytesIO(part.read()), index_col=0)


TABLES = {
    "breast_cancer": Table(of_sklearn(datasets.load_breast_cancer), "target"),
    "cars": Table(
        lambda: pd.read_json(of_package("vega_datasets", "_data/cars.json")), "Origin", ("Year",)
    ),
    "crabs": Table(of_r("MASS/crabs"), "sp", ("index",)),
    "diamonds": Table(of_r("ggplot2/diamonds"), "cut"),
    "digits": Table(of_sklearn(datasets.load_digits), "target"),
    "glass": Table(of_r("MASS/fgl"), "type"),
    "iris": Table(of_sklearn(datasets.load_iris), "target"),
    "job_training": Table(of_r("Ecdat/Treatment"), "treat"),
    "light_chains": Table(
        of_r("survival/flchain"), "mgus", ("sample.yr", "flc.grp", "futime", "death")
    ),
    "penguins": Table(
        lambda: pd.read_csv(of_package("palmerpenguins", "data/penguins.csv")), "species", ("year",)
    ),
    "pima": Table(of_r("MASS/Pima.tr", "MASS/Pima.te"), "type"),
    "schools": Table(of_r("Ecdat/Caschool"), "grspan", ("distcod",)),
    "weather": Table(
        lambda: pd.read_csv(of_package("vega_datasets", "_data/seattle-weather.csv")), "weather"
    ),
    "wine": Table(of_sklearn(datasets.load_wine), "target"),
}


def parted(table: Table) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Return own rows, foreign rows, both in a drawn order, and the foreign class."""
    found = table.rows()
    classes = found[table.classes].astype(str)
    beside = [table.classes, *table.without]
    numbers = found.drop(columns=beside).select_dtypes("number").astype(np.float64)
    kept = found[table.classes].notna() & numbers.notna().all(axis=1) & ~numbers.duplicated()
    numbers, classes = numbers[kept].reset_index(names="id"), classes[kept]
    counts = classes.value_counts()
    enough = counts[counts >= SMALLEST_CLASS]
    foreign = max(enough[enough == enough.min()].index)
    apart = (classes == foreign).to_numpy()
    random = np.random.default_rng(0)
    own, out = numbers[~apart], numbers[apart]
    own = own.iloc[random.permutation(len(own))[:MOST_OWN]]
    return own, out.iloc[random.permutation(len(out))[:MOST_FOREIGN]], foreign


def write(name: str, table: Table, folder: Path) -> dict:
    """Write the parts of a table, and return what is to be known of it."""
    own, out, foreign = parted(table)
    first, second = int(TRAIN * len(own)), int((TRAIN + REFERENCE) * len(own))
    parts = {
        f"{name}/train": own.iloc[:first],
        f"{name}-reference/test": own.iloc[first:second],
        f"{name}/test": own.iloc[second:],
        f"{name}-out/test": out,
    }
    for place, rows in parts.items():
        path = folder / f"{place}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.assign(id=[f"{name}/{row}" for row in rows["id"]]).to_parquet(path, index=False)
    sizes = [len(rows) for rows in parts.values()]
    about = dict(zip(("train", "reference", "test", "foreign_rows"), sizes, strict=True))
    columns = [column for column in own if column != "id"]
    enough = about["reference"] // 2 >= CALIBRATION
    return {"foreign": foreign, **about, "columns": columns, "enough_for_.05": enough}


def page(about: dict[str, dict]) -> str:
    """Return the list of sets, in Markdown."""
    lines = [
        "| set | columns | train | density and calibration | own test | foreign | foreign class |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in about.items():
        few = "" if each["enough_for_.05"] else " (too few for alarms at .05)"
        lines.append(
            f"| {name} | {len(each['columns'])} | {each['train']} | {each['reference']}{few} | "
            f"{each['test']} | {each['foreign_rows']} | {each['foreign']} |"
        )
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write all tables, ``sets.json`` and ``README.md``."""
    about = {name: write(name, table, folder) for name, table in TABLES.items()}
    (folder / "sets.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(page(about), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
