"""An in-distribution set of a benchmark, its models, and what they are to tell it from."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

from fimetric.arguments import whole_or_none
from fimetric.benchmark.variants import NEAR
from fimetric.data import Samples
from fimetric.data.named import Named, Shape
from fimetric.data.sources import ARRAYS, FILES
from fimetric.models.family import FAMILIES, SAMPLES, SCHEDULE, Family
from fimetric.objectives import from_pretrained

GIVEN = ("source", "seed")  # of from_pretrained: by ``model`` and by the grid
PARTS = ("fit", "calibration", "test")
OPTIONS = tuple(name for name in signature(from_pretrained).parameters if name not in GIVEN)
LEAKS = ("own calibration", "own test again")  # sets that no method may tell from the own test part


@dataclass(frozen=True)
class Foreign:
    """What is known of a model of no family, which others trained."""

    kind: str
    samples: str
    has: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Trained:
    """The models of one family, and how they are trained; or a model that lies somewhere already.

    Arguments:
        kind: name of the family; of a model of none, what it is to be called.
        config: the name of a configuration, or a table of its fields.
        steps, batch_size, validate_every: see ``fimetric.training.train``.
        seeds: of the trainings, the first of which stands in all tables.
        model: a model that is trained already: a folder of ``fimetric train``, or for a kind that
            is no family whatever ``from_pretrained`` opens. Nothing is trained then.
        samples: what such a model takes: images, sounds, tables or texts.
        options: arguments of ``from_pretrained`` for a model that lies somewhere.
        background: a model of the same samples, which likelihood ratios are taken to.
    """

    kind: str
    config: str | Mapping[str, Any] = field(default="small", hash=False)
    steps: int = 5000
    batch_size: int = 64
    validate_every: int | None = None
    seeds: tuple[int, ...] = (0,)
    model: str | None = None
    samples: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    background: str | None = None

    def __post_init__(self) -> None:
        """Check the family and the seeds.

        Raises:
            ValueError: for an unknown family, config or option, seeds that are none, equal or
                negative, or numbers below 1; and for what does not go with a model that lies
                somewhere.
        """
        if self.model is not None and self.seeds != (0,):
            raise ValueError(f"{self.kind}: model names one model; leave out seeds")
        if self.background is not None and self.family.samples != "texts":
            raise ValueError(f"{self.kind}: a background is for models of texts")
        for name in self.options:
            if name not in OPTIONS:
                raise ValueError(f"no option {name!r}; options are {', '.join(OPTIONS)}")
        if self.kind not in FAMILIES:
            self._check_foreign()
            return
        if self.samples:
            raise ValueError(f"{self.kind} is a family, which says itself what its samples are")
        if self.options and self.model is None:
            raise ValueError(f"{self.kind}: options are for a model that lies somewhere: model = ")
        if self.options and SCHEDULE in FAMILIES[self.kind].has:
            raise ValueError(f"{self.kind}: options would change what its methods compare; none")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise ValueError(f"seeds of {self.kind} must be different numbers, got {self.seeds}")
        if min(self.steps, self.batch_size, self.validate_every or 1) < 1:
            raise ValueError(f"{self.kind}: steps, batch_size and validate_every start at 1")
        model = FAMILIES[self.kind].model
        known = (
            model.CONFIGS
            if isinstance(self.config, str)
            else [f.name for f in fields(model.Config)]
        )
        for name in [self.config] if isinstance(self.config, str) else self.config:
            if name not in known:
                raise ValueError(
                    f"{self.kind} has no config {name!r}; there are {', '.join(known)}"
                )

    def _check_foreign(self) -> None:
        if self.model is None:
            raise ValueError(
                f"unknown family {self.kind!r}; there are {', '.join(FAMILIES)}; or say with "
                "model = where a model lies that is trained already"
            )
        if self.samples not in SAMPLES:
            raise ValueError(
                f"{self.kind}: samples = {self.samples!r}; say which the model takes: "
                f"{', '.join(SAMPLES)}"
            )

    @property
    def family(self) -> Family | Foreign:
        """What is known of the model."""
        return FAMILIES.get(self.kind) or Foreign(self.kind, self.samples or "")


def called(source: str) -> str:
    """Return what a set is called: the last part of a path, or its name.

    >>> called("data/audio/esc10/"), called("mnist"), called("rows/own.csv")
    ('esc10', 'mnist', 'own')
    """
    return Path(source).stem if Path(source).suffix in (*FILES, *ARRAYS) else Path(source).name


@dataclass(frozen=True)
class Own:
    """An in-distribution set, the models trained on it, and what they are to tell it from.

    Arguments:
        data: the set, by name or as a file or folder.
        far, near: foreign sets, likewise.
        models: of the set.
        alike: a pattern of names: samples in whose names it finds the same text are nearly the
            same, such as frames of one video, and stay on one side of the split.
        reference: own samples for density and calibration, half each, where they are not taken
            from ``data``.
        column, rate: of all these sets, see ``fimetric.data.load``.
        name: what the set is called, by default the last part of ``data``.
    """

    data: str
    far: tuple[str, ...]
    models: tuple[Trained, ...]
    near: tuple[str, ...] = ()
    alike: str | None = None
    reference: str | None = None
    column: str | None = None
    rate: int | None = None
    name: str = ""

    def __post_init__(self) -> None:
        """Name the set, and check that none is named twice, or as a part or look of one.

        Raises:
            ValueError: for an ``alike`` that is no pattern, a name taken or repeated, a rate below
                1, or no far set or models.
        """
        whole_or_none(f"{self.data}: rate", self.rate)
        object.__setattr__(self, "name", self.name or called(self.data))
        try:
            re.compile(self.alike or "")
        except re.error as error:
            raise ValueError(f"{self.data}: alike is no pattern: {error}") from error
        if self.reference in (self.data, *self.far, *self.near):
            raise ValueError(f"{self.data}: the reference must be own samples of no other set")
        if self.reference is not None and self.alike is not None:
            raise ValueError(f"{self.data}: alike is for own samples that come from one set")
        foreign = [called(source) for source in (*self.far, *self.near)]
        for name in foreign:
            if name in NEAR or name in (*PARTS, *LEAKS):
                raise ValueError(f"{self.data}: a set cannot be called {name!r}")
        sets = (called(self.data), *foreign)
        if len(set(sets)) < len(sets):
            raise ValueError(
                f"{self.data}: a set is named twice among {', '.join(sets)}; rename a file, or "
                "name its folder"
            )
        if not self.models or not self.far:
            raise ValueError(f"{self.data}: name at least one far set and one family of models")

    @property
    def reading(self) -> dict[str, Any]:
        """What is said of how its files are read: column and rate, where they are given."""
        said = {"column": self.column, "rate": self.rate}
        return {name: value for name, value in said.items() if value is not None}

    def open(self, source: str, named: Named, shape: Shape | None = None) -> Samples:
        """Return one of these sets, read by their column and at their rate.

        Arguments:
            source: its name.
            named: all else that is asked of it.
            shape: of the samples that a model takes; None allows any.

        Raises:
            ValueError: where it has no such column or is of no rate, naming the setting; and
                whatever ``Named.open`` raises.
        """
        try:
            return replace(named, **self.reading).open(source, shape)
        except ValueError as error:
            why = [f"{k} = {v!r}" for k, v in self.reading.items() if repr(v) in str(error)]
            if source == self.data or not why:
                raise
            raise ValueError(
                f"{error} ({' and '.join(why)} of the set {self.data} holds for all that it is "
                f"compared with, {source} among them: bring them to one form)"
            ) from error
