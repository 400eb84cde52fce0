"""All claims on one model, one after another; what is done is kept."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fimetric.claims.finding import Finding
from fimetric.claims.registry import CLAIMS, Claim, select
from fimetric.claims.study import CRITERIA, Study
from fimetric.progress import progress

log = logging.getLogger(__name__)


def analyse(study: Study, folder: Path, claims: Sequence[str] | None = None) -> list[Finding]:
    """Measure claims; called again on the same study, go on where it was stopped.

    Each finding goes to ``<folder>/<claim>/finding.json``, its pictures beside it.

    Arguments:
        study: what they are measured on.
        folder: where findings go.
        claims: names in ``fimetric.claims.CLAIMS``, all by default.

    Returns:
        The findings, without those of claims that are not about such a model.

    Raises:
        ValueError: for an unknown claim, a folder with findings of another study, or where no claim
            could be measured, the reason of the first. A claim that cannot be measured while others
            can is left out, with a warning that says why.
    """
    chosen = select(claims)
    kept(study, folder)  # refuses another study before any work
    found, failures = [], []
    with progress("claims", len(chosen), study.progress) as advance:
        for name, claim in chosen.items():
            try:
                finding = _one(study, folder / name, claim)
            except ValueError as error:  # too few samples for one claim may do for the next
                failures.append(error)
                log.warning("%s: not measured: %s", name, error)
            else:
                if finding is None:
                    log.info("%s: does not concern %s", name, study.objective.describe())
                else:
                    found.append(finding)
            advance(1)
    if failures and not found:
        raise failures[0]
    return found


def kept(study: Study, folder: Path) -> list[Finding]:
    """Return all findings in a folder, in the order of ``CLAIMS``, whenever they were measured."""
    done = [name for name in CLAIMS if (folder / name / "finding.json").exists()]
    return [_read(study, folder / name / "finding.json") for name in done]


def _one(study: Study, folder: Path, claim: Claim) -> Finding | None:
    path = folder / "finding.json"
    if path.exists():
        return _read(study, path)
    finding = claim(study, folder)
    if finding is not None:
        finding.write(path, study.key)
    return finding


def _read(study: Study, path: Path) -> Finding:
    finding, key = Finding.read(path)
    if key != study.key:
        raise ValueError(
            f"{path} was found on another model, other data or other settings, or by other "
            f"criteria than version {CRITERIA}; name another folder, or remove this one"
        )
    return finding
