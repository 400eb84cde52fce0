"""The committed pages on the claims are what the code writes from the committed findings."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fimetric.claims.finding import Finding
from fimetric.claims.metric import OTHERS, judge
from fimetric.claims.page import page
from fimetric.claims.study import CRITERIA

RESULTS = Path(__file__).parents[2] / "docs" / "results"
sys.path.insert(0, str(RESULTS))
measuring, claims_page = map(importlib.import_module, ("claims", "claims_page"))

NAMES = [case.name for case in measuring.CASES]


def criteria(name):
    if name == claims_page.RETRAINED:
        path = claims_page.PAGES / name / "finding.json"
        return Finding.read(path)[1]["criteria"]
    return claims_page.recorded(name).criteria


@pytest.mark.parametrize("name", [*NAMES, claims_page.RETRAINED])
def test_findings_are_of_todays_criteria(name):
    assert criteria(name) == CRITERIA


def test_findings_by_older_criteria_are_told(monkeypatch):
    records = {name: claims_page.recorded(name) for name in NAMES}
    first, *others = records
    monkeypatch.setattr(claims_page, "CRITERIA", CRITERIA + 1)
    for name in others:
        key = {**records[name].key, "criteria": CRITERIA + 1}
        records[name] = replace(records[name], key=key)
    text = "\n".join(claims_page.overview(records))
    assert f"Not measured again by today's criteria, {CRITERIA + 1}: {first}." in text
    assert f"- {first}, by older criteria: " in text
    assert not any(f"- {name}, by older criteria:" in text for name in others)


@pytest.mark.parametrize("name", NAMES)
def test_a_models_page_is_what_the_code_writes(name):
    record = claims_page.recorded(name)
    lines = page(list(record.findings.values()), record.key)
    text = (claims_page.PAGES / name / "claims.md").read_text(encoding="utf-8")
    assert text == "\n".join(lines)
    assert f"Judged by version {record.criteria} of the criteria" in text
    assert "measure again" not in text


def test_the_page_on_all_is_what_the_code_writes():
    records = {name: claims_page.recorded(name) for name in NAMES}
    lines = [*claims_page.overview(records), *claims_page.retraining()]
    text = (RESULTS / "claims.md").read_text(encoding="utf-8")
    assert text == "\n".join(lines)
    assert "older criteria" not in text


@pytest.mark.parametrize("name", [*NAMES, claims_page.RETRAINED])
def test_a_folder_holds_what_its_findings_name_and_nothing_else(name):
    if name == claims_page.RETRAINED:
        found, _ = Finding.read(claims_page.PAGES / name / "finding.json")
        wanted = {"finding.json", *(picture.file for picture in found.pictures)}
    else:
        findings = claims_page.recorded(name).findings.values()
        wanted = {"claims.md", "model.md", "samples.png"}
        wanted |= {f"{f.claim}/finding.json" for f in findings}
        wanted |= {f"{f.claim}/{p.file}" for f in findings for p in f.pictures}
    place = claims_page.PAGES / name
    assert {str(p.relative_to(place)) for p in place.rglob("*") if p.is_file()} == wanted


def test_records_of_several_studies_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(claims_page, "PAGES", tmp_path)
    with pytest.raises(ValueError, match="holds 0 findings"):
        claims_page.recorded("a")
    for seed, claim in enumerate(("score", "matrix")):
        (tmp_path / "a" / claim).mkdir(parents=True)
        found = Finding(claim, "It is so", "holds", "because")
        found.write(tmp_path / "a" / claim / "finding.json", {"seed": seed})
    with pytest.raises(ValueError, match="not of one study; measure a again"):
        claims_page.recorded("a")


METRIC = [n for n in NAMES if "metric" in claims_page.recorded(n).findings]


@pytest.mark.parametrize("name", METRIC)
def test_the_metric_is_judged_in_the_words_of_the_code(name):
    record = claims_page.recorded(name)
    finding, own = record.findings["metric"], next(iter(record.key["data"]))
    ranks = {level: finding.numbers[f"Spearman, {own}, {level}"] for level in OTHERS}
    assert judge(ranks) == (finding.verdict, finding.because)
