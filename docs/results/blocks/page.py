"""Write docs/results/blocks.md: the criterion, what came of the candidates, and which wins."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from candidates import FORMER, HIDDEN, PAPER, SHIPPED, Candidate, candidates
from deep import DEEP as ADDED
from deep import TWO_OF_NORMS
from picture import draw
from rows import BROKEN as BROKEN_ROWS
from sounds import BROKEN as BROKEN_SOUNDS
from texts import BROKEN as BROKEN_TEXTS

from fimetric.benchmark.cases import Case
from fimetric.benchmark.variants import OUTLIERS
from fimetric.store.files import whole_file
from judging import SIZES, Judged

HERE = Path(__file__).parent
CLOSE = 0.005  # from the best: the simplest of these wins
UNSOUND = 0.01  # of the models and group sizes, at most
TOP = 15  # candidates in the table
BROKEN = {*list(OUTLIERS)[:3], *BROKEN_TEXTS, *BROKEN_SOUNDS, *BROKEN_ROWS}
LATER = (
    "`cheap` would gain by hidden states, and stays what it is until a table holds them: they are "
    "not among what `Objective.parts` tells."
)
DEEP = (
    "Other subjects in good English, which hidden states tell on the page of "
    "[modalities](modalities.md), are not among outliers that can be made of own texts: the half "
    "of another text is the nearest, and there hidden states alone are below one half. Own data "
    "give no reason to take them, so the default stays behind where subjects differ."
)
DEEPER = {*ADDED, *TWO_OF_NORMS}
Found = Mapping[Case, Mapping[tuple[Candidate, int], Judged]]
Areas = Mapping[str, Mapping[Candidate, float]]  # family -> candidate -> its mean


def write(found: Found) -> None:
    """Write the page and its picture."""
    areas = by_family(found)
    chosen = presets(found, areas)
    draw(areas, HERE / "blocks.png")
    with whole_file(HERE.with_suffix(".md")) as place:
        head = HERE.with_suffix(".head.md").read_text(encoding="utf-8")
        place.write_text("\n".join([head, *_page(found, areas, chosen)]) + "\n", encoding="utf-8")


def by_family(found: Found, recipes: set[str] | None = None, sizes: tuple = SIZES) -> Areas:
    """Return the mean area of each candidate over group sizes and recipes, then over models."""
    families: dict[str, list[Case]] = {}
    for case in found:
        families.setdefault(case.trained.kind, []).append(case)
    return {
        kind: {
            c: float(np.mean([_area(found[m][c, s], recipes) for m in models for s in sizes]))
            for c in candidates()
        }
        for kind, models in families.items()
    }


def _area(judged: Judged, recipes: set[str] | None) -> float:
    return float(np.mean([a for n, a in judged.areas.items() if recipes is None or n in recipes]))


def sound(found: Found, candidate: Candidate) -> bool:
    each = [models[candidate, size].sound for models in found.values() for size in SIZES]
    return np.mean(each) >= 1 - UNSOUND


def mean(areas: Areas, candidate: Candidate) -> float:
    return float(np.mean([of_family[candidate] for of_family in areas.values()]))


def winner(
    areas: Areas,
    among: list[Candidate],
    size: Callable[[Candidate], int] = lambda candidate: len(candidate.blocks),
) -> Candidate:
    """Return the simplest of those near the best: without further passes, of the fewest blocks."""
    means = {candidate: mean(areas, candidate) for candidate in among}
    close = [c for c, value in means.items() if value >= max(means.values()) - CLOSE]
    return min(close, key=lambda c: (c.costly, size(c), -means[c]))


def presets(found: Found, areas: Areas) -> dict[str, Candidate]:
    """Return the winners: without further passes, of all, and of those without a gradient."""
    fine = [c for c in candidates() if sound(found, c)]
    return {
        "default": winner(areas, [c for c in fine if not c.costly]),
        "best": winner(areas, fine),
        "cheap": winner(areas, [c for c in fine if not c.gradient and not c.costly]),
    }


def left_out(found: Found, areas: Areas, groups: Mapping[str, list[str]]) -> Iterator[tuple]:
    """Yield group, the choice of the other families, its mean there, and that of norms alone."""
    fine = [c for c in candidates() if sound(found, c) and not c.costly]
    for name, kinds in groups.items():
        others = {kind: each for kind, each in areas.items() if kind not in kinds}
        within = {kind: areas[kind] for kind in kinds}
        chosen = winner(others, fine)
        yield name, chosen, mean(within, chosen), mean(within, FORMER)


def _page(found: Found, areas: Areas, chosen: Mapping[str, Candidate]) -> Iterator[str]:
    yield "\n## Result\n"
    yield "| preset | chosen | mean | as it is | norms and losses alone | the paper's density |"
    yield "|---|---|---|---|---|---|"
    for name, candidate in chosen.items():
        values = (mean(areas, c) for c in (candidate, SHIPPED[name], FORMER, PAPER))
        yield f"| {name} | {candidate.name} | {' | '.join(f'{v:.3f}' for v in values)} |"
    yield ""
    yield from _kept(areas, chosen)
    unsound = [c.name for c in candidates() if not sound(found, c)]
    yield f"\n{len(candidates())} candidates; not sound: {', '.join(unsound) or 'none'}.\n"
    fine = [c for c in candidates() if sound(found, c) and not c.costly]
    other = winner(areas, fine, lambda candidate: candidate.within)
    yield (
        "A single density counts as one block, as it did when criterion and candidates were "
        "committed. Were it counted by the blocks within it, the default would be "
        f"{other.name} ({mean(areas, other):.3f}).\n"
    )
    top = max((c for c in candidates() if sound(found, c)), key=lambda c: mean(areas, c))
    yield (
        f"The highest mean of all has {top.name} ({mean(areas, top):.3f}), which by this criterion "
        f"is not better than the default; `fm.detectors.best()` is {SHIPPED['best'].name} "
        f"({mean(areas, SHIPPED['best']):.3f}).\n"
    )
    yield "![Mean areas of the presets, by family](blocks/blocks.png)\n"
    yield from _best(found, areas, chosen)
    yield from _nested(found, areas)
    yield from _joins(areas)
    yield from _deep(found)


def _kept(areas: Areas, chosen: Mapping[str, Candidate]) -> Iterator[str]:
    """Say of presets that are not what was chosen why they stay as they are."""
    for name, candidate in chosen.items():
        gain = mean(areas, candidate) - mean(areas, SHIPPED[name])
        if candidate != SHIPPED[name] and gain <= CLOSE:
            yield (
                f"`{name}` stays {SHIPPED[name].name}: what is chosen has {gain:+.4f}, which is no "
                "difference by this criterion.\n"
            )
        elif candidate != SHIPPED[name]:
            yield f"{LATER}\n"


def _deep(found: Found) -> Iterator[str]:
    """Yield what single outliers of the deep model's texts are told by."""
    judged = next(each for case, each in found.items() if case.trained.kind.startswith("SmolLM2"))
    order = sorted(candidates(), key=lambda c: -judged[c, 1].area)
    third = next(c for c in order if not DEEPER.isdisjoint(c.blocks))
    default = SHIPPED["default"]
    told = [f"{judged[c, 1].area:.3f}" for c in (default, third, order[0])]
    yield (
        f"\n### SmolLM2\n\nOf single texts the default has {told[0]}, the best candidate with what "
        f"the third round added {told[1]}, the best of all {told[2]}. {DEEP}\n"
    )
    recipes = judged[default, 1].areas
    yield f"| candidate | {' | '.join(recipes)} |"
    yield "|---" + "|---:" * len(recipes) + "|"
    others = (FORMER, PAPER, *(Candidate((name,)) for name in HIDDEN))
    for candidate in (default, third, order[0], *others):
        values = judged[candidate, 1].areas
        yield f"| {candidate.name} | {' | '.join(f'{values[r]:.3f}' for r in recipes)} |"


def _best(found: Found, areas: Areas, chosen: Mapping[str, Candidate]) -> Iterator[str]:
    broken, likely = by_family(found, BROKEN), by_family(found, _likely(found))
    single = by_family(found, sizes=(1,))
    order = sorted(candidates(), key=lambda c: -mean(areas, c))
    shown = dict.fromkeys(
        [*order[:TOP], *chosen.values(), *SHIPPED.values(), FORMER, PAPER, Candidate(("loss",))]
    )
    kinds = list(areas)
    yield f"| candidate | mean | B = 1 | broken | too likely | {' | '.join(kinds)} |"
    yield "|---" * (5 + len(kinds)) + "|"
    for c in shown:
        bold = "**" if c in SHIPPED.values() else ""
        values = [mean(each, c) for each in (areas, single, broken, likely)]
        values += [areas[kind][c] for kind in kinds]
        yield f"| {bold}{c.name}{bold} | {' | '.join(f'{v:.3f}' for v in values)} |"
    yield (
        f"\nMean AUROC of own rows against outliers made of them, group sizes 1 and 5, "
        f"{len(found)} models; bold are the presets.\n"
    )


def _likely(found: Found) -> set[str]:
    return {n for models in found.values() for j in models.values() for n in j.areas} - BROKEN


def _nested(found: Found, areas: Areas) -> Iterator[str]:
    modalities: dict[str, list[str]] = {}
    for case in found:
        kinds = modalities.setdefault(case.trained.family.samples, [])
        kinds += [case.trained.kind] if case.trained.kind not in kinds else []
    yield "The choice among candidates without further passes, left out and judged there:\n"
    yield "| left out | chosen by the others | mean there | of the norms and losses alone |"
    yield "|---|---|---|---|"
    single = {kind: [kind] for kind in areas}
    for groups in (single, modalities):
        for name, candidate, value, before in left_out(found, areas, groups):
            yield f"| {name} | {candidate.name} | {value:.3f} | {before:.3f} |"


def _joins(areas: Areas) -> Iterator[str]:
    yield "\nThe best candidate of each way to join, and of each number of blocks:\n"
    yield "| | candidate | mean |"
    yield "|---|---|---|"
    groups: dict[str, list[Candidate]] = {}
    for c in candidates():
        if len(c.blocks) > 1:
            groups.setdefault(c.join, []).append(c)
        groups.setdefault(f"{len(c.blocks)} blocks", []).append(c)
    for name, among in groups.items():
        best = max(among, key=lambda c: mean(areas, c))
        yield f"| {name} | {best.name} | {mean(areas, best):.3f} |"
