"""A detector fitted into a folder; stopped, it goes on where it was."""

import shutil
from pathlib import Path
from typing import Any

from fimetric.detection.detector import Detector
from fimetric.detection.prefixes import with_prefixes
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
    prefixes: bool = False,
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
        prefixes: see ``Detector.fit``.

    Raises:
        FileExistsError: where the folder exists and ``overwrite`` is False.
        ValueError: where ``<folder>.parts`` was made from something else; and whatever ``fit``
            raises.
    """
    check_target(folder, overwrite)
    parts = _parts_of(folder)
    earlier = parts.exists()
    try:
        _fit(detector, data, batch_size, parts, prefixes)
    except ValueError:  # data that will not do, or parts of an earlier call with something else
        if not earlier:
            shutil.rmtree(parts, ignore_errors=True)
        raise
    try:
        check_target(folder, overwrite)  # another process may have written it meanwhile
        detector.save(folder, overwrite)
    finally:
        if folder.exists():
            shutil.rmtree(parts, ignore_errors=True)
    return detector


def _fit(
    detector: Detector, data: Any, batch_size: int | None, parts: Path, prefixes: bool
) -> None:
    """Fit on features that are kept on the way, so that a later call goes on from them."""
    if isinstance(data, Features) and not prefixes:
        detector.fit(data)
        return
    size = detector.group_size if detector.density.joint else 1

    def kept(samples: Any, name: str) -> Features:
        density = detector.density
        return extract(
            detector.objective,
            samples,
            batch_size,
            size,
            parts / name,
            parts=density.parts,
            gradient=density.gradient,
        )

    if not prefixes:
        detector.fit(kept(data, "features"))
        return
    objective, seed = detector.objective, detector.seed
    own, held_out = with_prefixes(objective, data, None, seed, detector.group_size)
    detector.fit_tables(kept(own, "features"), kept(held_out, "calibration"), held_out)


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
