"""Findings as a page: claim, verdict, numbers, pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fimetric.claims.finding import Finding
from fimetric.claims.study import CRITERIA, Study
from fimetric.store.files import whole_file


def write_page(findings: Sequence[Finding], study: Study, path: Path) -> None:
    """Write all findings on one model as Markdown, beside the folders of their pictures."""
    _write(path, page(findings, study.key))


def write_finding(finding: Finding, path: Path) -> None:
    """Write one finding as Markdown, beside its pictures."""
    _write(path, [*section(finding, "."), judged_by(CRITERIA), ""])


def page(findings: Sequence[Finding], key: Mapping[str, Any]) -> list[str]:
    """Return the lines of a page on one model, from its findings and the key of their study."""
    own, *foreign = key["data"]
    lines = [
        f"# The method's claims on {key['objective']}",
        "",
        f"In-distribution: {own}, held out. Foreign: {', '.join(foreign) or 'none'}. "
        f"At most {key['limit']} samples of each, seed {key['seed']}.",
        "",
        judged_by(key["criteria"]),
        "",
        "| claim | verdict |",
        "|---|---|",
        *(f"| [{f.title}](#{f.claim}) | **{f.verdict}** |" for f in findings),
        "",
    ]
    for finding in findings:
        lines += section(finding, finding.claim)
    return lines


def judged_by(criteria: int) -> str:
    """Return by which version of the criteria findings were judged, and whether it is today's."""
    today = "" if criteria == CRITERIA else f"; today's is version {CRITERIA}: measure again"
    return f"Judged by version {criteria} of the criteria{today}."


def section(finding: Finding, folder: str) -> list[str]:
    """Return the lines of one finding, whose pictures lie in ``folder``."""
    return [
        f"## {finding.claim}",
        "",
        f"{finding.title}: **{finding.verdict}**.",
        "",
        finding.because,
        "",
        *(table.markdown() for table in finding.tables),
        *(
            line
            for p in finding.pictures
            for line in (f"![{p.caption}]({folder}/{p.file})", "", p.caption, "")
        ),
        *(f"- {note}" for note in finding.notes),
        *([""] if finding.notes else []),
    ]


def _write(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path) as place:
        place.write_text("\n".join(lines), encoding="utf-8")
