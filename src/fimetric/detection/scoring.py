"""Scores of a whole data set into a file, batch by batch."""

import csv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fimetric.data import length
from fimetric.detection.detector import Detector
from fimetric.features.table import Features
from fimetric.progress import progress
from fimetric.store.files import refuse_file, refuse_long, whole_file

Rows = list[tuple[str, float, float, bool, float, bool]]
COLUMNS = ("id", "score", "p_value", "out_of_distribution", "length", "outside")


def write_scores(
    detector: Detector,
    data: Any,
    path: Path,
    alpha: float = 0.05,
    confidence: float | None = None,
    batch_size: int | None = None,
) -> tuple[int, int]:
    """Write a row for every sample, or group, to a CSV or Parquet file.

    It has id, score, p-value, decision, length, and whether that is outside of all lengths that
    were calibrated on: such samples are judged as the nearest of these, which is logged once. The
    length is the number of dimensions of a sample, such as its predicted tokens. The id of a group
    is those of its samples, joined by spaces; its length is their mean. Memory does not grow with
    the data.

    Arguments:
        detector: a fitted detector.
        data: samples, or their ``Features``.
        path: a name that ends in .csv or .parquet.
        alpha, confidence: see ``Detector.predict``.
        batch_size: samples to a forward pass, rounded to whole groups; that of ``fit`` if None.

    Returns:
        The number of groups and the number of those out of distribution.

    Raises:
        ValueError: for another ending, an alpha that the calibration cannot resolve, or samples
            that make no whole groups; nothing is written then.
    """
    check_target(path)
    detector.calibration.refuse(alpha, confidence)
    groups = alarms = outside = 0
    with (
        whole_file(path) as place,
        WRITERS[path.suffix](place) as write,
        progress("scoring", length(data)) as advance,
    ):
        for part in _parts(detector, data, batch_size):
            rows = _judge(detector, part, alpha, confidence)
            write(rows)
            advance(len(rows) * detector.group_size)
            groups += len(rows)
            alarms += sum(row[3] for row in rows)
            outside += sum(row[5] for row in rows)
    detector.judge.warn(outside, groups)
    return groups, alarms


def check_target(path: Path) -> None:
    """Refuse a path that scores cannot be written to.

    Raises:
        ValueError: for a suffix other than .csv and .parquet, a folder, or a file in the place of a
            folder.
    """
    if path.suffix not in WRITERS:
        raise ValueError(f"{path} must end in .csv or .parquet")
    refuse_long(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a file for the scores")
    refuse_file(path.parent)


def _parts(detector: Detector, data: Any, batch_size: int | None) -> Iterator[Features]:
    if isinstance(data, Features):
        yield detector.features(data)
        return
    for _, part in detector.stream(data, batch_size):
        yield part


def _judge(detector: Detector, part: Features, alpha: float, confidence: float | None) -> Rows:
    ids = [" ".join(part.group_ids(g)) for g in range(len(part))]
    columns = detector.judge.columns(part, alpha, confidence)
    return list(zip(ids, *(column.tolist() for column in columns), strict=True))


@contextmanager
def _csv_writer(path: Path) -> Iterator[Callable[[Rows], None]]:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        yield writer.writerows


@contextmanager
def _parquet_writer(path: Path) -> Iterator[Callable[[Rows], None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    real, yes = pa.float64(), pa.bool_()
    kinds = (pa.string(), real, real, yes, real, yes)
    schema = pa.schema(list(zip(COLUMNS, kinds, strict=True)))
    with pq.ParquetWriter(path, schema) as writer:
        yield lambda rows: writer.write_table(
            pa.table([list(column) for column in zip(*rows, strict=True)], schema=schema)
        )


WRITERS = {".csv": _csv_writer, ".parquet": _parquet_writer}
