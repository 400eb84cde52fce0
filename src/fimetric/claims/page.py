"""Findings as a page: claim, verdict, numbers, pictures."""

from collections.abc import Sequence
from pathlib import Path

from fimetric.claims.finding import Finding
from fimetric.claims.study import Study
from fimetric.store.files import whole_file


def write_page(findings: Sequence[Finding], study: Study, path: Path) -> None:
    """Write all findings on one model as Markdown, beside the folders of their pictures."""
    lines = [
        f"# The method's claims on {study.objective.describe()}",
        "",
        f"In-distribution: {study.own.name}, held out. "
        f"Foreign: {', '.join(study.foreign) or 'none'}. "
        f"At most {study.limit} samples of each, seed {study.seed}.",
        "",
        "| claim | verdict |",
        "|---|---|",
        *(f"| [{f.title}](#{f.claim}) | **{f.verdict}** |" for f in findings),
        "",
    ]
    for finding in findings:
        lines += section(finding, finding.claim)
    with whole_file(path) as place:
        place.write_text("\n".join(lines), encoding="utf-8")


def write_finding(finding: Finding, path: Path) -> None:
    """Write one finding as Markdown, beside its pictures."""
    with whole_file(path) as place:
        place.write_text("\n".join(section(finding, ".")), encoding="utf-8")


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
