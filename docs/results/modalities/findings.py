"""Write docs/results/findings.md: where the default loses to a rival, and by which columns."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from pathlib import Path
from statistics import fmean

from columns import Account, account

from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.results import Comparison
from fimetric.benchmark.run import wanted
from fimetric.benchmark.tables import extract
from fimetric.metrics import Estimate
from fimetric.store.files import whole_file
from studies import DEFAULT, HERE, LOSSES, Panel, Study

PAGE = HERE.parent / "findings.md"
STEPS = {
    "two-sided": ("mean loss, one-sided", "two-sided"),
    "neighbours": ("two-sided", "neighbours, losses"),
    "parts added": ("neighbours, losses", "without norms"),
    "norms added": ("without norms", "default"),
}
WORDS = {
    "two-sided": "the sign of the loss is dropped",
    "neighbours": "a distance in the loss is blunter than the loss",
    "parts added": "parts and code lengths drown the loss",
    "norms added": "the norms drown what needs no gradient",
}
CLEAR = 0.01  # of an area
Accounts = Mapping[tuple[str, str], Account]  # model, foreign set


def write(studies: Sequence[Study], titles: Mapping[str, str]) -> None:
    """Write the page."""
    with whole_file(PAGE) as place:
        head = PAGE.with_suffix(".head.md").read_text(encoding="utf-8")
        parts = [line for study in studies for line in _section(study, titles[study.name])]
        place.write_text("\n".join([head, *parts]) + "\n", encoding="utf-8")


def accounts(study: Study) -> dict[tuple[str, str], Account]:
    """Return the account of every pair of sets."""
    found = {}
    for case in study.found.models:
        tables = _tables(case, study.folder)
        found |= {(case.name, other): account(tables, other) for other in case.sets}
    return found


def _tables(case: Case, folder: Path) -> Mapping:
    return extract(wanted(case, DEFAULT, 1, "random"), folder, Sets(case))


def _section(study: Study, title: str) -> Iterator[str]:
    found = accounts(study)
    yield f"## {title}\n"
    head = HERE / f"{study.name}.findings.md"
    if head.exists():
        yield head.read_text(encoding="utf-8")
    yield from _gradient(study)
    for panel in study.panels(1):
        yield from _steps(panel, found)
        yield from _lost(study, panel, found)


def _gradient(study: Study) -> Iterator[str]:
    """Yield whether the gradient adds to the losses, by the paired difference over all pairs."""
    yield (
        "Does the gradient add to what needs none? The default against the same density in the "
        "losses, their parts and code lengths alone:\n"
    )
    yield "| model | default | without norms | pairs where the norms add / take away |"
    yield "|---|---:|---:|---:|"
    for model, _ in study.owns:
        ours = [c for c in study.of(model, 1) if c.method == DEFAULT]
        alone = {c.other: c.auroc for c in study.of(model, 1) if c.method == LOSSES}
        leads = [study.found.difference(c, LOSSES) for c in ours]
        more, less = sum(d.low > 0 for d in leads), sum(d.high < 0 for d in leads)
        yield (
            f"| {model} | {fmean(c.auroc for c in ours):.3f} | {fmean(alone.values()):.3f} | "
            f"{more} / {less} of {len(ours)} |"
        )
    yield ""


def _steps(panel: Panel, found: Accounts) -> Iterator[str]:
    """Yield what each step from the one-sided loss to the default changes, and the shifts."""
    yield f"### {panel.title}\n"
    yield (
        "| foreign set | mean loss, one-sided | two-sided | neighbours, losses | without norms | "
        "norms alone | default | shift of the loss | of the norms | columns that rise | "
        "best column | median column | shift in PC 1–3 |"
    )
    told = [found[c.model, c.other] for c in _ours(panel)]
    varied = any(a.outside > 0 or a.length != 0.5 for a in told)
    yield "|---|" + "---:|" * 12
    for c, a in zip(_ours(panel), told, strict=True):
        ladder = " | ".join(f"{x:.3f}" for x in a.ladder.values())
        yield (
            f"| {panel.label(c)} | {ladder} | {a.loss_shift:+.2f} | {a.norm_shift:+.2f} | "
            f"{a.risen:.0%} | {a.best} {a.best_area:.3f} | {a.median_area:.3f} | {a.large:.0%} |"
        )
    changes = {
        name: fmean(a.ladder[after] - a.ladder[before] for a in told)
        for name, (before, after) in STEPS.items()
    }
    words = ", ".join(f"{name} {change:+.3f}" for name, change in changes.items())
    if varied:
        yield from _lengths(panel, told)
    yield f"\nMean change of each step from the one-sided loss to the default: {words}. "
    yield f"Share of own variance in PC 1–3: {fmean(a.own_large for a in told):.0%}.\n"


def _lengths(panel: Panel, told: Sequence[Account]) -> Iterator[str]:
    """Yield how many texts are beyond own lengths, and the default with and without them."""
    yield "\n| foreign set | beyond own lengths | default | within them | raw | length alone |"
    yield "|---|" + "---:|" * 5
    for c, a in zip(_ours(panel), told, strict=True):
        within = "–" if isnan(a.within) else f"{a.within:.3f}"
        yield (
            f"| {panel.label(c)} | {a.outside:.0%} | {a.ladder['default']:.3f} | {within} | "
            f"{a.raw:.3f} | {a.length:.3f} |"
        )


def _ours(panel: Panel) -> list[Comparison]:
    return [panel.row(name)[DEFAULT] for name in panel.sets]


def _lost(study: Study, panel: Panel, found: Accounts) -> Iterator[str]:
    """Yield the pairs where the default is below the best rival by more than the interval."""
    lost = [(c, study.best_rival(c), study.lead(c)) for c in _ours(panel)]
    lost = [(c, rival, lead) for c, rival, lead in lost if lead.high < 0]
    if not lost:
        yield "No rival is above the default by more than the interval.\n"
        return
    yield "Below the best single rival by more than the interval:\n"
    yield "| foreign set | rival | rival's | default | difference | what knows it better |"
    yield "|---|---|---:|---:|---:|---|"
    for c, rival, lead in sorted(lost, key=lambda each: each[2].value):
        yield (
            f"| {panel.label(c)} | {rival.method} | {rival.auroc:.3f} | {c.auroc:.3f} | "
            f"{_told(lead)} | {why(found[c.model, c.other])} |"
        )
    yield ""


def why(a: Account) -> str:
    """Return, in words that the numbers decide, what of the losses and norms the default leaves."""
    default = a.ladder["default"]
    told = []
    if a.ladder["mean loss, one-sided"] > default + CLEAR:
        steps = {
            name: a.ladder[after] - a.ladder[before] for name, (before, after) in STEPS.items()
        }
        worst = min(steps, key=lambda name: steps[name])
        told.append(f"{WORDS[worst]} ({steps[worst]:+.3f})")
    if a.best_area > default + CLEAR:
        told.append(f"diluted: {a.best} alone has {a.best_area:.3f}")
    return "; ".join(told) or "no loss and no layer of the model knows it better"


def _told(lead: Estimate) -> str:
    return f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
