"""Whether a table or a detector comes from this objective: what it says, and what it computes."""

from typing import Protocol

from fimetric.extraction.probing import difference as losses_differ
from fimetric.features.probe import Probe
from fimetric.fingerprint.attributes import Attributes
from fimetric.fingerprint.attributes import difference as models_differ
from fimetric.fingerprint.model import watched_fingerprint
from fimetric.objectives.base import Objective


class Made(Protocol):
    """What was made with an objective: ``Features``, or what a detector says of itself."""

    @property
    def objective(self) -> str: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def unsteady(self) -> tuple[str, ...]: ...  # noqa: D102
    @property
    def costs(self) -> dict[str, float] | None: ...  # noqa: D102
    @property
    def probe(self) -> Probe | None: ...  # noqa: D102


def difference(
    made: Made,
    objective: Objective,
    words: str | None = None,
    attributes: Attributes | None = None,
) -> str:
    """Return in words what else something was made with; empty where it was this objective.

    Arguments:
        made: what is asked about.
        objective: that of today, with its model.
        words: what is measured of it, by default its own description.
        attributes: those of then, where they were kept.
    """
    words = objective.describe() if words is None else words
    if made.objective != words:
        return f"another objective: {made.objective}, not {words}"
    if made.seed != objective.seed:
        return f"another seed: {made.seed}, not {objective.seed}"
    now = watched_fingerprint(objective, made.unsteady)
    losses = losses_differ(made.probe, objective)
    if made.fingerprint != now:  # the rows have warmed it: what is made in a first pass is there
        now = watched_fingerprint(objective, made.unsteady)
    if made.fingerprint != now:
        what = models_differ(made.fingerprint, now, attributes, objective, made.unsteady)
        return f"another model ({what})"
    return f"another loss: {losses}" if losses else ""
