"""How much the training matters: averages of models that differ in their seed alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from fimetric.benchmark.results import Comparison


def by_seed(comparisons: Sequence[Comparison], methods: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a section: for each kind of model with several seeds, a row a group size.

    Arguments:
        comparisons: of all models.
        methods: whose averages are shown; those tried on the first seed alone say nothing here.
    """
    kinds: dict[tuple[str, str], dict[int, list[Comparison]]] = {}
    for c in comparisons:
        if c.distance == "far" and c.arrangement == "random" and c.method in methods:
            kinds.setdefault((c.own, c.family), {}).setdefault(c.seed, []).append(c)
    kinds = {kind: seeds for kind, seeds in kinds.items() if len(seeds) > 1}
    if not kinds:
        return
    yield "## By seed of the training\n"
    yield "Mean AUROC over the far pairs, groups at random, for each seed in turn.\n"
    yield f"| model | B | {' | '.join(methods)} |"
    yield f"|---|---|{'---|' * len(methods)}"
    for (own, family), seeds in kinds.items():
        for size in sorted({c.group_size for each in seeds.values() for c in each}):
            cells = [
                " / ".join(_mean(seeds[seed], method, size) for seed in sorted(seeds))
                for method in methods
            ]
            yield f"| {own} {family} | {size} | {' | '.join(cells)} |"
    yield ""


def _mean(comparisons: Sequence[Comparison], method: str, size: int) -> str:
    found = [c.auroc for c in comparisons if (c.method, c.group_size) == (method, size)]
    return f"{np.mean(found):.3f}" if found else "–"
