"""Which samples a metric is fitted on, which a density, and which are scored: none is two."""

from dataclasses import dataclass

from fimetric.claims.study import Study
from fimetric.data import Samples
from fimetric.objectives import Objective

REFERENCES, SCORED = 500, 300  # samples at most: references, and of each set that is scored


@dataclass(frozen=True)
class Parts:
    """Which samples are references, fit the density, and are scored.

    Arguments:
        objective: of the references.
        references: samples of the model, or of a part of its own data.
        fit: in-distribution samples that the density is fitted on.
        scored: set -> samples, the in-distribution set first.
        words: what the references are.
    """

    objective: Objective
    references: Samples
    fit: Samples
    scored: dict[str, Samples]
    words: str


def choose_parts(study: Study) -> Parts:
    """Return which samples are references, fit the density, and are scored.

    Raises:
        ValueError: for too few samples to set the parts apart.
    """
    own = study.sets[study.own.name]
    if study.drawn is not None:
        objective = study.drawn.objective
        count = min(REFERENCES, len(study.drawn.samples))
        references, rest = study.drawn.samples.select(range(count)), own
        words = f"{count} samples of the model ({study.drawn.how})"
    else:
        objective, count = study.objective, min(REFERENCES, len(own) // 2)
        references = own.select(range(count))
        rest = own.select(range(count, len(own)))
        words = f"{count} held-out samples of {own.name}"
    half = min(SCORED, len(rest) // 2)
    if half < 2 or count < 2:
        raise ValueError(
            f"{len(own)} samples of {own.name} are too few to set apart references, a part for the "
            "density and a part to score; 8 are the least, some hundreds are better"
        )
    scored = {own.name: rest.select(range(half))}
    for name in study.foreign:
        foreign = study.sets[name]
        scored[name] = foreign.select(range(min(SCORED, len(foreign))))
    fit = rest.select(range(half, min(2 * half, len(rest))))
    return Parts(objective, references, fit, scored, words)
