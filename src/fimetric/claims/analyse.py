"""All claims on one model, one after another; what is done is kept."""

import logging
from collections.abc import Sequence
from pathlib import Path

from fimetric.claims.finding import Finding
from fimetric.claims.registry import CLAIMS, Claim
from fimetric.claims.study import Study
from fimetric.progress import progress

log = logging.getLogger(__name__)


def analyse(study: Study, folder: Path, claims: Sequence[str] = tuple(CLAIMS)) -> list[Finding]:
    """Measure claims; called again on the same study, go on where it was stopped.

    Each finding goes to ``<folder>/<claim>/finding.json``, its pictures beside it.

    Arguments:
        study: what they are measured on.
        folder: where findings go.
        claims: names in ``fimetric.claims.CLAIMS``, all by default.

    Returns:
        The findings, without those of claims that are not about such a model.

    Raises:
        ValueError: for an unknown claim, or a folder with findings of another study.
    """
    chosen = {name: _known(name) for name in claims}
    found = []
    with progress("claims", len(chosen), study.progress) as advance:
        for name, claim in chosen.items():
            finding = _one(study, folder / name, claim)
            if finding is None:
                log.info("%s: does not concern %s", name, study.objective.describe())
            else:
                found.append(finding)
            advance(1)
    return found


def _known(name: str) -> Claim:
    if name not in CLAIMS:
        raise ValueError(f"no claim {name!r}; there are {', '.join(CLAIMS)}")
    return CLAIMS[name]


def _one(study: Study, folder: Path, claim: Claim) -> Finding | None:
    path = folder / "finding.json"
    if path.exists():
        known, key = Finding.read(path)
        if key != study.key:
            raise ValueError(
                f"{path} was found on another model, other data or other settings; "
                "name another folder, or remove this one"
            )
        return known
    finding = claim(study, folder)
    if finding is not None:
        finding.write(path, study.key)
    return finding
