"""The detector: objective, gradients, density and calibration in one object."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fimetric.arguments import folder_of, seed_of, whole, whole_or_none
from fimetric.calibration import Calibration
from fimetric.data import Batch, Spec, length
from fimetric.data.batches import rounded
from fimetric.detection import saved
from fimetric.detection.grouping import grouped, halves, to_fit
from fimetric.detection.judge import Judge
from fimetric.detection.origin import Origin
from fimetric.detection.prefixes import edges_of, with_prefixes
from fimetric.detection.remembered import remembered, reopened
from fimetric.detectors import Density, as_density
from fimetric.extraction.extractor import Extractor
from fimetric.extraction.intake import Intake, coarse_format_named, refuse_labels
from fimetric.extraction.memory import MOST
from fimetric.extraction.stream import run, stream
from fimetric.features.groups import refuse_rest
from fimetric.features.length import LengthTrend
from fimetric.features.probe import Probe
from fimetric.features.screening import refuse_shared, refuse_strange
from fimetric.features.table import Features
from fimetric.fingerprint.attributes import attributes
from fimetric.objectives.base import Objective, as_objective
from fimetric.objectives.untold import refuse_untold
from fimetric.typing import Array


class Detector:
    """Creates an out-of-distribution detector for a generative model.

    Arguments:
        objective: what is differentiated; it holds the model. For a diffusion model take
            ``Denoising`` at several timesteps, such as (0, 50, 300) of 1,000: one tells less.
        density: of in-distribution data, itself or by a name in ``detectors.DENSITIES`` or
            ``PRESETS``: ``"default"`` if None; the paper's is ``"layerwise-gaussian"``.
        group_size: consecutive samples that are judged together, by the mean of their rows,
            or by their joint gradient where the density says so, as the paper's does.
        seed: of the split between density and calibration.
        batch_size: samples to a forward pass; as many as memory holds, 64 at most, if None. What
            was chosen in ``fit`` is kept as ``batch_size_``.

    ``spec_`` says what a sample looks like, as learned in ``fit``; other data are refused from then
    on. ``trend_`` brings samples of different lengths to one; None where all are of one.

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
        self.trend_: LengthTrend | None = None
        self._origin = Origin()  # of the fit

    def fit(self, data: Any, calibration: Any = None, prefixes: bool = False) -> Self:
        """Fit the density and calibrate the scores, on data that the model was not trained on.

        Arguments:
            data: in-distribution data, or its ``Features``.
            calibration: data or ``Features`` to calibrate on. If None, a seeded half of the groups
                of ``data`` is used for the density and the other half for calibration.
            prefixes: add beginnings of the samples, texts or clips, to both, so that shorter ones
                are judged rightly: of each sample one in each of five bins of length.

        Raises:
            ValueError: for too few groups, features of another model, non-finite norms (naming
                sample and layer), calibration data of another look, or what cannot be cut.
            TypeError: for what is no data.
        """
        self._origin.forget()
        self.calibration_ = self.spec_ = self.trend_ = None
        self.batch_size_ = self.batch_size
        refuse_labels(data, calibration)
        if prefixes:
            how = self.seed, self.group_size
            data, calibration = with_prefixes(self.objective, data, calibration, *how)
        table = self._table(data)
        held_out = None if calibration is None else self._features(calibration)
        return self.fit_tables(table, held_out, calibration)

    def fit_tables(self, table: Features, held_out: Features | None, cut: Any = None) -> Self:
        """Do what ``fit`` does, on tables of this objective; ``cut`` is what ``held_out`` is of."""
        self.spec_ = self.spec_ or table.spec
        features = grouped(table, self.group_size)
        rows = np.arange(len(features))
        if held_out is None:
            rows, others = halves(len(features), self.group_size, self.seed)
            held_out = features.select(others)
        refuse_strange(held_out)
        with coarse_format_named(self.objective.module):
            judge = Judge.fit(self.density, to_fit(table, rows, self.group_size, self.seed))
        refuse_shared(features.select(rows), held_out)
        self._origin.keep(self.objective, features, attributes(self.objective, features.unsteady))
        self.batch_size_, self.trend_ = self.batch_size or features.batch_size, judge.trend
        self.calibration_ = judge.calibrated(held_out, edges_of(cut, held_out))
        return self

    def recalibrate(self, data: Any) -> Self:
        """Calibrate on new in-distribution data and keep the density."""
        _ = self.calibration  # refused before the work
        self.calibration_ = self.judge.calibrated(self._features(data))
        return self

    def score(self, batch: Any) -> Array:
        """Return scores (N // group_size,), higher = more anomalous.

        A score is a function of the group alone; a sample that breaks the model gives +inf, logged.

        Arguments:
            batch: samples as ``fimetric.data.batches`` takes them, or their ``Features``.

        Raises:
            TypeError: for what is no data, or numbers of another kind than those fitted.
            ValueError: for non-finite input, samples of another convention, or no whole groups.
            RuntimeError: before ``fit``.
        """
        return self.judge.scores(self._features(batch, whole=True))

    def p_value(self, batch: Any) -> Array:
        """Return conformal p-values (N // group_size,): P(p <= a) <= a for exchangeable groups."""
        _ = self.calibration  # refused before the work
        return self.judge.p_value(self._features(batch, whole=True))

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
        self.calibration.refuse(alpha, confidence)  # before the work
        return self.judge.reject(self._features(batch, whole=True), alpha, confidence)

    def explain(self, batch: Any) -> Array:
        """Return what each column adds to the score, (N // group_size, J); rows sum to it."""
        return self.density.explain(self.judge.levelled(self._features(batch, whole=True)))

    def features(self, batch: Any) -> Features:
        """Return the log norms, losses and parts that ``score`` is computed from, with ids."""
        return self._features(batch, whole=True)

    def stream(self, data: Any, batch_size: int | None = None) -> Iterator[tuple[Batch, Features]]:
        """Yield samples batch by batch with the log norms that are scored, in constant memory.

        Arguments:
            data: samples as ``fimetric.data.batches`` takes them.
            batch_size: samples to a forward pass, rounded to whole groups; that of ``fit`` if None.

        Raises:
            TypeError, ValueError: see ``score``; groups not whole are told by the last batch.
        """
        _ = self.calibration  # refused before the work
        refuse_rest(length(data), self.group_size)
        size = rounded(batch_size or self.batch_size_ or MOST, self.group_size)
        extractor, intake = self._extractor(), Intake(self.objective, self.spec_)
        found = stream(extractor, data, size, self.group_size, whole_groups=True, intake=intake)
        for batch, table in found:
            yield batch, grouped(table, self.group_size)

    @property
    def calibration(self) -> Calibration:
        """The calibration.

        Raises:
            RuntimeError: before ``fit``.
        """
        return self.judge.known

    @property
    def judge(self) -> Judge:
        """What it has learned of tables."""
        return Judge(self.density, self.trend_, self.calibration_)

    @property
    def fingerprint_(self) -> str | None:
        """The fingerprint of the objective that it was fitted with; None before ``fit``."""
        return self._origin.fingerprint

    @property
    def unsteady_(self) -> tuple[str, ...]:
        """What a forward pass changes of that objective, left out of the fingerprint."""
        return self._origin.unsteady

    @property
    def probe_(self) -> Probe | None:
        """Losses of made-up rows, which tell another loss; None where there are none."""
        return self._origin.probe

    def save(self, folder: str | Path, overwrite: bool = False) -> None:
        """Write the detector, without the model, as JSON and safetensors.

        Raises:
            FileExistsError: where the folder exists and ``overwrite`` is False.
            RuntimeError: before ``fit``.
        """
        _ = self.calibration  # refused before the work
        refuse_untold(self.objective)
        arrays, states = saved.packed(self.judge)
        description = saved.Description(
            **self._origin.told(self.objective),
            spec=self.spec_,
            batch_size=self.batch_size_,
            group_size=int(self.group_size),  # JSON knows no numpy integer
            split_seed=int(self.seed),
            opened=remembered(self.objective, folder),
            **states,
        )
        saved.write(folder, description, arrays, overwrite)

    @classmethod
    def load(cls, folder: str | Path, objective: Objective | None = None) -> Self:
        """Read a detector and join it with its objective.

        The objective is compared with the one of ``fit``: what it says of itself, all that its
        modules are made of, and its losses of the made-up rows that are kept. With None, what
        ``from_pretrained`` opened is opened again, without network or own code.

        Raises:
            FileNotFoundError: where there is no detector, or its model has moved.
            ValueError: for a damaged folder, another version, or another objective or model; for
                no objective, where it was made by hand or opening it would run code.
        """
        folder = folder_of(folder)
        given = None if objective is None else as_objective(objective)
        kept, arrays = saved.read(folder)
        objective = reopened(folder, kept) if given is None else given
        saved.refuse_another(folder, kept, objective)
        with saved.damage_named(folder):
            judge = saved.judge_of(kept, arrays)
            detector = cls(objective, judge.density, kept.group_size, kept.split_seed)
            detector.calibration_, detector.trend_ = judge.calibration, judge.trend
        detector.spec_, detector.batch_size_ = kept.spec, kept.batch_size
        detector._origin.keep(objective, kept, kept.attributes)
        return detector

    def _features(self, data: Any, whole: bool = False) -> Features:
        """Return ``data`` as features of this objective, a row a group."""
        return grouped(self._table(data, whole), self.group_size, whole)

    def _table(self, data: Any, whole: bool = False) -> Features:
        """Return ``data`` as features of this objective, a row a sample or a group."""
        if isinstance(data, Features):
            data = self.density.read(data)
            self._origin.refuse_foreign(
                data, self.objective, self.group_size, self.density, self.spec_
            )
            return data
        refuse_rest(length(data), self.group_size if whole else 1)  # and what is no data
        intake = Intake(self.objective, self.spec_)
        table = run(self._extractor(), data, self.batch_size_, None, not whole, whole, intake)
        if not whole:  # what is to be judged teaches nothing
            self.spec_ = intake.spec
        return table

    def _extractor(self) -> Extractor:
        """Return what turns batches into rows, refusing an objective that has changed."""
        size = self.group_size if self.density.joint else 1
        return self._origin.extractor(self.objective, size, self.density)
