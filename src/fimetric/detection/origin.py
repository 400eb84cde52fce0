"""What ties a fitted detector to its objective: whether it is still what it was fitted with."""

from dataclasses import asdict
from typing import Any

from fimetric.data import Spec
from fimetric.detectors import Density
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.intake import refuse_idle_tensors
from fimetric.extraction.loss_parts import difference as parts_differ
from fimetric.extraction.probing import difference as losses_differ
from fimetric.extraction.provenance import Made, difference
from fimetric.features.probe import Probe
from fimetric.features.table import Features
from fimetric.fingerprint.attributes import Attributes
from fimetric.fingerprint.attributes import difference as models_differ
from fimetric.fingerprint.model import look
from fimetric.gradients.contributions.costs import Costs, restored
from fimetric.objectives.base import Objective

State = tuple[Objective | None, str, int]


class Origin:
    """The objective as it was in ``fit``, and the extractor that goes with it.

    ``fingerprint`` is None before the fit, while any objective will do; ``attributes`` are those of
    the objective, where they were kept.
    """

    def __init__(self) -> None:
        self.fingerprint: str | None = None
        self.unsteady: tuple[str, ...] = ()
        self.probe: Probe | None = None
        self.costs: dict[str, float] | None = None  # by which forms of norms were chosen
        self.attributes: Attributes | None = None
        self._extractor: Extractor | None = None
        self._extracted = ""  # the fingerprint that it was made with
        self._read: tuple[str | None, bool] = None, True  # parts, and whether norms
        self._asked: State = (None, "", -1)  # when the probe was asked last

    def forget(self) -> None:
        """Let any objective do again, with an extractor of its own."""
        self.fingerprint = self.probe = self.costs = self._extractor = None
        self.unsteady = ()

    def keep(self, objective: Objective, made: Made, attributes: Attributes | None) -> None:
        """Let this objective do alone, as it is now, by what was made with it."""
        self.fingerprint, self.unsteady = made.fingerprint, made.unsteady
        self.probe, self.attributes = made.probe, attributes
        self.costs = asdict(restored(made.costs))
        self._extracted = made.fingerprint
        _, self._asked = self._look(objective)

    def told(self, objective: Objective) -> dict[str, Any]:
        """Return what a saved detector says of its objective and of the fit."""
        return {
            "objective": objective.describe(),
            "seed": int(objective.seed),  # JSON knows no numpy integer
            "settings": objective.settings(),
            "fingerprint": self.fingerprint,
            "unsteady": self.unsteady,
            "probe": self.probe,
            "attributes": self.attributes,
            "costs": self.costs,
        }

    def extractor(self, objective: Objective, size: int, density: Density) -> Extractor:
        """Return the extractor with all it has learned, a new one where the model has changed.

        Arguments:
            objective: that of today.
            size: samples to a row.
            density: for which parts of the losses stand in the table too, and norms do.

        Raises:
            ValueError: where the model or the loss is another than in ``fit``.
        """
        refuse_idle_tensors(objective.module)
        (now, state), fitted = self._look(objective), self.fingerprint
        if fitted not in (None, now):
            what = models_differ(fitted or "", now, self.attributes, objective, self.unsteady)
            raise ValueError(
                f"the model has changed since the detector was fitted ({what}); fit the detector "
                "again"
            )
        self._refuse_another_loss(objective, state)
        read = density.parts, density.gradient
        if self._extractor is None or self._extracted != now or self._read != read:
            self._extractor = Extractor(objective, size, self.probe, *read)
            self._extracted, self._read = now, read
        self._extractor.costs = None if self.costs is None else Costs(**self.costs)
        return self._extractor

    def _look(self, objective: Objective) -> tuple[str, State]:
        """Return the fingerprint, and what changes wherever the loss may have changed."""
        now, changes = look(objective, self.unsteady)
        return now, (objective, objective.describe(), changes)

    def _refuse_another_loss(self, objective: Objective, state: State) -> None:
        """Ask the probe where anything has changed that a fingerprint may not tell.

        Raises:
            ValueError: where the loss has changed since the detector was fitted.
        """
        if self.fingerprint is not None and state != self._asked:
            if losses := losses_differ(self.probe, objective):
                raise ValueError(
                    f"the loss has changed since the detector was fitted ({losses}); fit the "
                    "detector again, or undo the change"
                )
            if self._asked[0] is not objective:
                self._extractor = None
            self._asked = state

    def refuse_foreign(
        self,
        features: Features,
        objective: Objective,
        group_size: int,
        density: Density,
        spec: Spec | None,
    ) -> None:
        """Refuse features that this objective did not make, or of other samples than ``spec``'s.

        Raises:
            ValueError: saying what they come from.
        """
        joint, parts = density.joint, density.parts
        if features.grouping == "mean" and not joint:  # grouped already
            other = difference(features, objective) or parts_differ(features, objective, parts)
            if density.gradient and not features.names:
                other = other or "losses alone, without norms"
            if features.group_size != group_size:
                other = f"another group size: {features.group_size}, not {group_size}"
        else:
            size = group_size if joint else 1
            other = self.extractor(objective, size, density).difference(features)
        if not other and spec is not None and features.spec is not None:
            other = spec.difference(features.spec)
        if other:
            grouped = "" if joint else ", one sample to a row (this density groups rows itself)"
            raise ValueError(
                f"these features come from {other}; extract them again with the detector's, with "
                f"parts={parts!r}, gradient={density.gradient}{grouped}"
            )
