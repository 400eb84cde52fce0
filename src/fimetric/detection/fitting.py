"""A detector fitted into a folder; stopped, it goes on where it was."""

import shutil
from pathlib import Path
from typing import Any

from fimetric.detection.detector import Detector
from fimetric.detection.saved import OWN
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.store.files import refuse_strangers, sweep


def fit_into(
    detector: Detector,
    data: Any,
    folder: Path,
    batch_size: int | None = None,
    overwrite: bool = False,
) -> Detector:
    """Fit a detector and write it into a folder.

    The gradient norms are kept in ``<folder>.parts`` until the detector is written; the same call
    goes on from there.

    Arguments:
        detector: one to be fitted.
        data: in-distribution data that the model was not trained on, or its ``Features``.
        folder: where the detector will be.
        batch_size: samples to a forward pass; as many as memory holds if None.
        overwrite: replace a detector that is there.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
        ValueError: where ``<folder>.parts`` was made from something else; and whatever ``fit``
            raises.
    """
    check_target(folder, overwrite)
    parts = _parts_of(folder)
    if not isinstance(data, Features):
        size = detector.group_size if detector.density.joint else 1
        data = extract(detector.objective, data, batch_size, size, parts / "features")
    try:
        detector.fit(data)
    except ValueError:  # of data that will not do, whatever else is tried with them
        shutil.rmtree(parts, ignore_errors=True)
        raise
    try:
        check_target(folder, overwrite)  # another process may have written it meanwhile
        detector.save(folder, overwrite)
    finally:
        if folder.exists():
            shutil.rmtree(parts, ignore_errors=True)
    return detector


def check_target(folder: Path, overwrite: bool) -> None:
    """Refuse a folder where a detector may not be written, before any work.

    Raises:
        FileExistsError: where it exists and ``overwrite`` is False, or holds files of somebody
            else's.
    """
    sweep(folder.parent)
    if overwrite:
        refuse_strangers(folder, OWN)
    if not folder.exists() or overwrite:
        return
    parts = _parts_of(folder)
    if parts.exists() and parts.stat().st_mtime_ns <= folder.stat().st_mtime_ns:
        shutil.rmtree(parts, ignore_errors=True)  # of this detector: a kill left them
    raise FileExistsError(f"{folder} exists already; pass --overwrite to replace it")


def _parts_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.parts")
