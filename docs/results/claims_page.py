"""Write claims.md, and a page for each model, from the findings that are recorded in claims/."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fimetric.claims import CLAIMS, Finding
from fimetric.claims.page import judged_by, page, section
from fimetric.claims.study import CRITERIA
from fimetric.store.files import whole_file

HERE = Path(__file__).parent
PAGES = HERE / "claims"
RETRAINED = "retraining"


@dataclass(frozen=True)
class Record:
    """What was found on one model, and the key of the study that found it."""

    findings: dict[str, Finding]
    key: dict[str, Any]

    @property
    def criteria(self) -> int:
        """The version of the criteria that judged."""
        return int(self.key["criteria"])


def recorded(name: str) -> Record:
    """Return the findings on one model.

    Raises:
        ValueError: where there are none, or they are of several studies.
    """
    paths = [PAGES / name / claim / "finding.json" for claim in CLAIMS]
    found = [Finding.read(path) for path in paths if path.exists()]
    keys = [key for _, key in found]
    if not keys or any(key != keys[0] for key in keys):
        raise ValueError(
            f"{PAGES / name} holds {len(found)} findings, which are not of one study; "
            f"measure {name} again"
        )
    return Record({finding.claim: finding for finding, _ in found}, keys[0])


def write_pages(names: Sequence[str]) -> None:
    """Write the page of each model, and the one on all of them."""
    records = {name: recorded(name) for name in names}
    for name, record in records.items():
        _write(PAGES / name / "claims.md", page(list(record.findings.values()), record.key))
    _write(HERE / "claims.md", [*overview(records), *retraining()])


def overview(records: dict[str, Record]) -> list[str]:
    """Return the lines on all models: verdicts first, then claim after claim."""
    by_claim = {
        claim: {name: r.findings[claim] for name, r in records.items() if claim in r.findings}
        for claim in CLAIMS
    }
    lines = [(HERE / "claims.head.md").read_text(encoding="utf-8")]
    lines += ["| claim | " + " | ".join(records) + " |"]
    lines += ["|---" * (1 + len(records)) + "|"]
    for claim, findings in by_claim.items():
        cells = [findings[name].verdict if name in findings else "-" for name in records]
        title = next(iter(findings.values())).title
        lines.append(f"| [{title}](#{claim}) | " + " | ".join(cells) + " |")
    versions = " | ".join(str(record.criteria) for record in records.values())
    lines += [f"| version of the criteria | {versions} |", ""]
    old = [name for name, record in records.items() if record.criteria != CRITERIA]
    if old:
        lines += [f"Not measured again by today's criteria, {CRITERIA}: {', '.join(old)}.", ""]
    lines += ["How well each model is trained, and all its tables:", ""]
    for name in records:
        trained = (PAGES / name / "model.md").read_text(encoding="utf-8").strip()
        lines.append(
            f"- [{name}](claims/{name}/claims.md), [samples](claims/{name}/samples.png): {trained}"
        )
    for claim, findings in by_claim.items():
        lines += _on_claim(claim, findings, old)
    return lines


def _on_claim(claim: str, findings: dict[str, Finding], old: Sequence[str]) -> list[str]:
    """Return what was found about one claim, and the pictures of the first model."""
    first, shown = next(iter(findings.items()))
    lines = ["", f"## {claim}", "", f"{shown.title}.", ""]
    for name, finding in findings.items():
        criteria = ", by older criteria" if name in old else ""
        lines.append(f"- {name}{criteria}: **{finding.verdict}**. {finding.because}")
    for picture in shown.pictures:
        where = f"claims/{first}/{claim}/{picture.file}"
        lines += ["", f"![{picture.caption}]({where})", "", f"{first}. {picture.caption}"]
    return lines


def retraining() -> list[str]:
    """Return the section on retrained models, which are none of the committed ones."""
    finding, key = Finding.read(PAGES / RETRAINED / "finding.json")
    intro = "Six small Glows (16x16 cifar10 against gtsrb and tiny_imagenet32), trained for this. "
    heading, _, *rest = section(finding, f"claims/{RETRAINED}")
    return ["", heading, "", intro + judged_by(key["criteria"]), "", *rest]


def _write(path: Path, lines: Sequence[str]) -> None:
    with whole_file(path) as place:
        place.write_text("\n".join(lines), encoding="utf-8")
