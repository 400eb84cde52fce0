"""The few numbers that a benchmark is read for: our default against what it has to beat."""

from collections.abc import Iterator, Sequence
from functools import cache

from fimetric.benchmark.comparing import CEILING, Found, Paired
from fimetric.benchmark.methods import LOSSES, METHODS, OURS
from fimetric.benchmark.page.averages import ALL, Average

DEFAULT = "fimetric"
NAMED = ("likelihood", "typicality", "layerwise-gaussian")


def headline(found: Found, averages: Sequence[Average]) -> Iterator[str]:
    """Yield the lines of a section: averages over the far pairs, and paired differences.

    Arguments:
        found: what the benchmark found.
        averages: of its comparisons, the first seed's alone.
    """
    if not any(a.setting.method == DEFAULT for a in averages):
        return
    sizes = sorted({c.group_size for c in found.comparisons})
    yield "## In short\n"
    yield (
        "Mean AUROC over the far pairs, models of the first seed, groups at random. In brackets: "
        f"how much better {DEFAULT} is on the same samples, with a 95% interval; **bold** where "
        f"that leaves out zero, or both are at least {CEILING}. Best rival: of the published "
        "methods that were tried on all these pairs. A dash: not tried on all of them.\n"
    )
    yield f"| family | B | {' | '.join(NAMED)} | best rival | {DEFAULT} |"
    yield f"|{'---|' * (len(NAMED) + 4)}"
    families = sorted({c.family for c in found.comparisons})
    tests = _Tests(found)
    for family in [*families, *([ALL] if len(families) > 1 else [])]:
        for size in sizes:
            means = _means(averages, family, size)
            if not means:
                continue
            rival = best_rival(means)
            cells = [_cell(tests, means, family, size, method) for method in NAMED]
            best = f"{rival}: {_cell(tests, means, family, size, rival)}" if rival else "-"
            yield f"| {family} | {size} | {' | '.join(cells)} | {best} | {means[DEFAULT]:.3f} |"
    yield ""


def best_rival(means: dict[str, float]) -> str | None:
    """Return the best of the published methods that are not named already, on the foreign sets."""
    rivals = {
        m: v for m, v in means.items() if METHODS[m].source not in (OURS, LOSSES) and m not in NAMED
    }
    return max(rivals, key=lambda method: rivals[method]) if rivals else None


def _means(averages: Sequence[Average], family: str, size: int) -> dict[str, float]:
    """Return the means of the methods that were tried on all pairs that the default was."""
    found = {
        a.setting.method: a
        for a in averages
        if a.family == family
        and (a.setting.distance, a.setting.group_size) == ("far", size)
        and a.setting.arrangement == "random"
    }
    if DEFAULT not in found:
        return {}
    return {m: a.mean for m, a in found.items() if a.pairs == found[DEFAULT].pairs}


class _Tests:
    """The paired tests of the default, each made once for all families."""

    def __init__(self, found: Found) -> None:
        self._of = cache(lambda method, size: found.paired(DEFAULT, method, size))

    def find(self, family: str, size: int, method: str) -> Paired | None:
        return next((test for test in self._of(method, size) if test.family == family), None)


def _cell(tests: _Tests, means: dict[str, float], family: str, size: int, method: str) -> str:
    if method not in means:
        return "-"
    paired = tests.find(family, size, method)
    if paired is None:
        return f"{means[method]:.3f} (on fewer samples)"
    low, high = paired.difference.low, paired.difference.high
    words = f"{paired.difference.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    clear = low > 0 or high < 0 or min(means[method], means[DEFAULT]) >= CEILING
    return f"{means[method]:.3f} ({f'**{words}**' if clear else words})"
