"""The detector: objective, gradients, density and calibration in one object."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fimetric.arguments import folder_of, seed_of, whole, whole_or_none
from fimetric.calibration import Calibration
from fimetric.data import Batch, Spec, length
from fimetric.data.batches import rounded
from fimetric.detection import saved as detector_files
from fimetric.detectors import Density, as_density, from_state
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.intake import (
    Intake,
    coarse_format_named,
    refuse_idle_tensors,
    refuse_labels,
)
from fimetric.extraction.memory import MOST
from fimetric.extraction.probing import difference as losses_differ
from fimetric.extraction.provenance import difference
from fimetric.extraction.stream import run, stream
from fimetric.features.groups import means, overlapping
from fimetric.features.probe import Probe
from fimetric.features.screening import refuse_strange
from fimetric.features.table import Features
from fimetric.fingerprint.attributes import Attributes, attributes
from fimetric.fingerprint.attributes import difference as models_differ
from fimetric.fingerprint.model import look
from fimetric.objectives.base import Objective, as_objective, refuse_untold

logger = logging.getLogger(__name__)

Array = NDArray[np.float64]
State = tuple[Objective | None, str, int]


class Detector:
    """Creates an out-of-distribution detector for a generative model.

    Arguments:
        objective: what is differentiated; it holds the model. For a diffusion model take
            ``Denoising`` at several timesteps, such as (0, 50, 300) of 1,000: one tells less.
        density: of the log norms of in-distribution data, itself or by its name in
            ``detectors.DENSITIES``; ``detectors.NearestNeighbours`` if None. The paper's is
            ``"layerwise-gaussian"``.
        group_size: consecutive samples that are judged together, by the mean of their log norms,
            or by their joint gradient where the density says so, as the paper's does.
        seed: of the split between density and calibration.
        batch_size: samples to a forward pass; as many as memory holds, 64 at most, if None. What
            was chosen in ``fit`` is kept as ``batch_size_``.

    ``spec_`` says what a sample looks like, as learned in ``fit``; data that follow another
    convention are refused from then on.

    Raises:
        TypeError: for a model without an objective, a class for a density, or no whole numbers.
        ValueError: for an unknown density, or numbers out of range.

    Example:
        >>> import fimetric as fm, torch
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Linear(8, 8)
        >>> objective = fm.objectives.Objective(lambda x: (model(x) - x).square().sum(1), model)
        >>> detector = fm.Detector(objective).fit(torch.randn(400, 8))
        >>> detector.predict(5 * torch.randn(3, 8), alpha=0.05)
        array([ True,  True,  True])

    References:
        Approximations to the Fisher Information Metric of Deep Generative Models for
        Out-Of-Distribution Detection (Dauncey, Holmes, Williams and Falck, 2024, arXiv 2403.01485)
    """

    def __init__(
        self,
        objective: Objective,
        density: Density | str | None = None,
        group_size: int = 1,
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        self.objective = as_objective(objective)
        self.density = as_density(density)
        self.group_size = whole("group_size", group_size)
        self.seed = seed_of(seed)
        self.batch_size = whole_or_none("batch_size", batch_size)
        self.batch_size_ = self.batch_size
        self.spec_: Spec | None = None
        self.calibration_: Calibration | None = None
        self.fingerprint_: str | None = None
        self.unsteady_: tuple[str, ...] = ()
        self.probe_: Probe | None = None
        self._attributes: Attributes | None = None  # of the objective, where it was fitted
        self._extractor: Extractor | None = None
        self._extracted = ""  # the fingerprint that it was made with
        self._asked: State = (None, "", -1)

    def fit(self, data: Any, calibration: Any = None) -> Self:
        """Fit the density and calibrate the scores, on data that the model was not trained on.

        Arguments:
            data: in-distribution data, or its ``Features``.
            calibration: data or ``Features`` to calibrate on. If None, a seeded half of the groups
                of ``data`` is used for the density and the other half for calibration.

        Raises:
            ValueError: for too few groups, features of another model, non-finite norms (naming
                sample and layer), or calibration data that look otherwise than ``data``.
            TypeError: for what is no data.
        """
        self.fingerprint_ = self.calibration_ = self.probe_ = self.spec_ = None
        self.batch_size_ = self.batch_size
        self.unsteady_ = ()
        refuse_labels(data, calibration)
        table = self._table(data)
        self.spec_ = self.spec_ or table.spec
        features = self._grouped(table)
        if calibration is None:
            if len(features) < 4:
                raise ValueError(
                    f"{len(features)} groups of {self.group_size} are too few to fit a density on "
                    "one half and calibrate on the other; 4 is the least, some hundreds are better"
                )
            order = np.random.default_rng(self.seed).permutation(len(features))
            half = len(features) // 2
            rows, held_out = order[:half], features.select(order[half:])
        else:
            rows, held_out = np.arange(len(features)), self._features(calibration)
        refuse_strange(held_out)
        with coarse_format_named(self.objective.module):
            self.density.fit(self._to_fit(table, rows))
        self.fingerprint_, self.unsteady_ = features.fingerprint, features.unsteady
        self._attributes = attributes(self.objective, self.unsteady_)
        self.probe_ = features.probe
        self.batch_size_ = self.batch_size or features.batch_size
        self._extracted = self.fingerprint_
        _, self._asked = self._look()
        self.calibration_ = Calibration(self.density.score(held_out))
        return self

    def recalibrate(self, data: Any) -> Self:
        """Calibrate on new in-distribution data and keep the density."""
        _ = self.calibration  # refused before the work
        self.calibration_ = Calibration(self.density.score(self._features(data)))
        return self

    def score(self, batch: Any) -> Array:
        """Return scores (N // group_size,), higher = more anomalous.

        A score is a function of the group alone. A sample on which the model breaks down scores
        +inf, and a warning in the log names it.

        Arguments:
            batch: samples as ``fimetric.data.batches`` takes them, or their ``Features``.

        Raises:
            TypeError: for what is no data, or numbers of another kind than those fitted.
            ValueError: for non-finite input, samples that follow another convention than those
                fitted, or a number of them that makes no whole groups.
            RuntimeError: before ``fit``.
        """
        return self.density.score(self._features(batch, whole=True))

    def p_value(self, batch: Any) -> Array:
        """Return conformal p-values (N // group_size,): P(p <= a) <= a for exchangeable groups."""
        return self.calibration.p_value(self.score(batch))

    def predict(
        self, batch: Any, alpha: float = 0.05, confidence: float | None = None
    ) -> NDArray[np.bool_]:
        """Return decisions (N // group_size,), True = out of distribution.

        Arguments:
            batch: samples, or their ``Features``.
            alpha: false-alarm rate, on average over calibration sets.
            confidence: if given, the probability (over calibration sets) with which the false-alarm
                rate of this very calibration set stays at or below ``alpha``.

        Raises:
            ValueError: where ``alpha`` is smaller than the calibration set can resolve.
        """
        calibration = self.calibration
        calibration.threshold(alpha, confidence)  # an alpha too small is refused before the work
        return calibration.reject(self.score(batch), alpha, confidence)

    def explain(self, batch: Any) -> Array:
        """Return what each column adds to the score, (N // group_size, J); rows sum to it."""
        return self.density.explain(self._features(batch, whole=True))

    def features(self, batch: Any) -> Features:
        """Return the log norms that ``score`` is computed from, with ids."""
        return self._features(batch, whole=True)

    def stream(self, data: Any, batch_size: int | None = None) -> Iterator[tuple[Batch, Features]]:
        """Yield the samples of some data, batch by batch, with the log norms that are scored.

        Memory does not grow with the data.

        Arguments:
            data: samples as ``fimetric.data.batches`` takes them.
            batch_size: samples to a forward pass, rounded to whole groups; that of ``fit`` if None.

        Raises:
            TypeError, ValueError: see ``score``; that groups are not whole is told at the latest
                with the last batch.
        """
        _ = self.calibration  # refused before the work
        samples = length(data)
        if samples is not None:
            self._refuse_rest(samples)
        size = rounded(batch_size or self.batch_size_ or MOST, self.group_size)
        extractor, intake = self._current_extractor(), Intake(self.objective, self.spec_)
        found = stream(extractor, data, size, self.group_size, whole_groups=True, intake=intake)
        for batch, table in found:
            yield batch, self._grouped(table)

    @property
    def calibration(self) -> Calibration:
        """The calibration; RuntimeError before ``fit``."""
        if self.calibration_ is None:
            raise RuntimeError("the detector is not fitted: call fit first")
        return self.calibration_

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the detector, without the model, as JSON and safetensors.

        Raises:
            FileExistsError: where the folder exists and ``overwrite`` is False.
        """
        if self.fingerprint_ is None:
            raise RuntimeError("the detector is not fitted: call fit first")
        refuse_untold(self.objective)
        arrays, density = self.density.state()
        arrays = {f"density.{name}": x for name, x in arrays.items()}
        arrays["calibration"] = self.calibration.scores
        description = detector_files.Description(
            objective=self.objective.describe(),
            seed=int(self.objective.seed),  # JSON knows no numpy integer
            settings=self.objective.settings(),
            fingerprint=self.fingerprint_,
            unsteady=self.unsteady_,
            probe=self.probe_,
            spec=self.spec_,
            batch_size=self.batch_size_,
            group_size=int(self.group_size),
            split_seed=int(self.seed),
            density=density,
            attributes=self._attributes,
        )
        detector_files.write(folder, description, arrays, overwrite)

    @classmethod
    def load(cls, folder: str | Path, objective: Objective) -> Self:
        """Read a detector and join it with its objective.

        The objective is compared with the one of ``fit``: what it says of itself, all that its
        modules are made of, and its losses of the made-up rows that are kept.

        Raises:
            FileNotFoundError: where there is no detector.
            ValueError: for a damaged folder, another version, or another objective or model.
        """
        folder, objective = folder_of(folder), as_objective(objective)
        description, arrays = detector_files.read(folder)
        if other := difference(description, objective, attributes=description.attributes):
            raise ValueError(
                f"{folder} was fitted with {other}. Load it with the model and the objective it "
                "was fitted with, or fit a new detector"
            )
        state = {
            name.removeprefix("density."): x
            for name, x in arrays.items()
            if name.startswith("density.")
        }
        try:
            density = from_state(state, description.density)
            detector = cls(objective, density, description.group_size, description.split_seed)
            detector.calibration_ = Calibration(arrays["calibration"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise detector_files.damaged(folder, error) from error
        detector.fingerprint_, detector.unsteady_ = description.fingerprint, description.unsteady
        detector.probe_, detector.spec_ = description.probe, description.spec
        detector.batch_size_, detector._attributes = description.batch_size, description.attributes
        _, detector._asked = detector._look()
        return detector

    @staticmethod
    def read_settings(folder: str | Path) -> dict[str, Any]:
        """Return the settings and the seed of the objective that a saved detector belongs to."""
        description, _ = detector_files.read(folder_of(folder))
        return {**description.settings, "seed": description.seed}

    def _features(self, data: Any, whole: bool = False) -> Features:
        """Return ``data`` as features of this objective, a row a group."""
        return self._grouped(self._table(data, whole), whole)

    def _table(self, data: Any, whole: bool = False) -> Features:
        """Return ``data`` as features of this objective, a row a sample or a group."""
        if isinstance(data, Features):
            return self._own(data)
        samples = length(data)
        if whole and samples is not None:
            self._refuse_rest(samples)
        intake = Intake(self.objective, self.spec_)
        table = run(
            self._current_extractor(),
            data,
            self.batch_size_,
            progress=not whole,
            whole_groups=whole,
            intake=intake,
        )
        if not whole:  # what is to be judged teaches nothing
            self.spec_ = intake.spec
        return table

    def _grouped(self, table: Features, whole: bool = False) -> Features:
        """Return the means over groups where a row is a sample still."""
        if table.group_size == self.group_size:
            return table
        if whole:
            self._refuse_rest(len(table))
        elif len(table) % self.group_size:
            logger.warning(
                "the last %d of %d samples make no whole group of %d: left out",
                len(table) % self.group_size,
                len(table),
                self.group_size,
            )
        return table.grouped(self.group_size)

    def _refuse_rest(self, samples: int) -> None:
        if samples % self.group_size:
            raise ValueError(
                f"{samples} samples do not make whole groups of {self.group_size}; leave out "
                f"{samples % self.group_size}"
            )

    def _to_fit(self, table: Features, groups: NDArray[np.int64]) -> Features:
        """Return what the density is fitted on: some groups, or the samples in them, regrouped.

        Samples regrouped at random give as many rows as there are samples, of which groups alone
        would be few.
        """
        if table.group_size == self.group_size:
            return table.select(groups)
        samples = groups[:, None] * self.group_size + np.arange(self.group_size)
        part = table.select(samples.ravel())
        refuse_strange(part)
        return means(part, overlapping(len(part), self.group_size, len(part), self.seed))

    def _current_extractor(self) -> Extractor:
        """Return the extractor with all it has learned, a new one where the model has changed."""
        refuse_idle_tensors(self.objective.module)
        (now, state), fitted = self._look(), self.fingerprint_
        if fitted not in (None, now):
            what = models_differ(
                fitted or "", now, self._attributes, self.objective, self.unsteady_
            )
            raise ValueError(
                f"the model has changed since the detector was fitted ({what}); fit the detector "
                "again"
            )
        self._refuse_another_loss(state)
        if self._extractor is None or self._extracted != now:
            size = self.group_size if self.density.joint else 1
            self._extractor = Extractor(self.objective, size, self.probe_)
            self._extracted = now
        return self._extractor

    def _look(self) -> tuple[str, State]:
        """Return the fingerprint, and what changes wherever the loss may have changed."""
        now, changes = look(self.objective, self.unsteady_)
        return now, (self.objective, self.objective.describe(), changes)

    def _refuse_another_loss(self, state: State) -> None:
        """Ask the probe where anything has changed that a fingerprint may not tell."""
        if self.fingerprint_ is not None and state != self._asked:
            if losses := losses_differ(self.probe_, self.objective):
                raise ValueError(
                    f"the loss has changed since the detector was fitted ({losses}); fit the "
                    "detector again, or undo the change"
                )
            if self._asked[0] is not self.objective:
                self._extractor = None
            self._asked = state

    def _own(self, features: Features) -> Features:
        """Return features of this objective, refusing those of another."""
        if features.grouping == "mean" and not self.density.joint:  # grouped already
            other = difference(features, self.objective)
            if features.group_size != self.group_size:
                other = f"another group size: {features.group_size}, not {self.group_size}"
        else:
            other = self._current_extractor().difference(features)
        if not other and self.spec_ is not None and features.spec is not None:
            other = self.spec_.difference(features.spec)
        if other:
            raise ValueError(
                f"these features come from {other}; extract them again with the detector's"
            )
        return features
