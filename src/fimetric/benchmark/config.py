"""A benchmark as one TOML file: read, and checked before any work is done."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Any

from fimetric.benchmark.methods import METHODS
from fimetric.benchmark.variants import NEAR
from fimetric.models import KINDS

TIERS = ("smoke", "cpu", "paper")
FIT, CALIBRATE = 0.25, 0.25  # of the held-out data; the rest is for the test


@dataclass(frozen=True)
class Recipe:
    """How the models of one family are trained.

    ``config`` is the name of a configuration or a table of its fields; ``seeds`` are those of the
    trainings, the first of which stands in all tables.
    """

    kind: str
    config: str | Mapping[str, Any] = field(default="small", hash=False)
    steps: int = 5000
    batch_size: int = 64
    validate_every: int | None = None
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        """Check the family and the seeds."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown family {self.kind!r}; there are {', '.join(KINDS)}")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds of {self.kind} must be different numbers, got {self.seeds}")


@dataclass(frozen=True)
class Own:
    """An in-distribution set, the models trained on it, and what they are to tell it from."""

    data: str
    far: tuple[str, ...]
    models: tuple[Recipe, ...]
    near: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that no set is named twice."""
        sets = (self.data, *self.far, *self.near)
        if len(set(sets)) < len(sets):
            raise ValueError(f"{self.data}: a set is named twice among {', '.join(sets)}")
        if not self.models or not self.far:
            raise ValueError(f"{self.data}: name at least one far set and one family of models")


@dataclass(frozen=True)
class Grid:
    """All that a benchmark is made of.

    Arguments:
        sets: in-distribution sets.
        held_out: held-out images of each: a quarter for the density, a quarter for the calibration,
            half for the test.
        samples: test images of each set.
        costly_samples: of each set, for methods that are costly.
        group_sizes: samples judged together, 1 among them.
        consecutive: group sizes that are also judged in the order of the file.
        methods: names in ``METHODS``; all if left out.
        looks: variants of the own test images that count as near sets.
        figure: the two methods of the picture.
        checkpoints: folder of trained models; one that is not there is trained in the run's folder.
        size: side to which pictures of any data are resized; as they are if left out.
        seed: of splits, groups, noise and bootstrap.
        batch_size: samples to a forward pass.
    """

    sets: tuple[Own, ...]
    held_out: int = 2000
    samples: int = 500
    costly_samples: int = 200
    group_sizes: tuple[int, ...] = (1, 5, 20)
    consecutive: tuple[int, ...] = ()
    methods: tuple[str, ...] = tuple(METHODS)
    looks: tuple[str, ...] = tuple(NEAR)
    figure: tuple[str, str] = ("typicality", "fimetric")
    checkpoints: str | None = None
    size: int | None = None
    seed: int = 0
    batch_size: int = 100
    name: str = field(default="benchmark", compare=False)

    def __post_init__(self) -> None:
        """Check names and sizes."""
        _known("method", (*self.methods, *self.figure), METHODS)
        _known("look", self.looks, NEAR)
        if len(self.figure) != 2:
            raise ValueError(f"figure must name two methods, got {self.figure}")
        if 1 not in self.group_sizes or min(self.group_sizes) < 1:
            raise ValueError(f"group_sizes must be positive and hold 1, got {self.group_sizes}")
        if not set(self.consecutive) <= set(self.group_sizes) - {1}:
            raise ValueError(f"consecutive must be group sizes above 1, got {self.consecutive}")
        if len({own.data for own in self.sets}) < len(self.sets) or not self.sets:
            raise ValueError("name at least one in-distribution set, each once")
        largest, fit = max(self.group_sizes), int(FIT * self.held_out)
        if fit < 2 * largest or self.costly_samples < 2 * largest:
            raise ValueError(
                f"groups of {largest} need at least {2 * largest} samples to fit and to test on; "
                f"there are {fit} and {self.costly_samples}: raise held_out or costly_samples"
            )
        if self.samples > self.held_out - 2 * fit or self.costly_samples > self.samples:
            raise ValueError(
                f"samples={self.samples} must be at most half of held_out={self.held_out}, and "
                f"costly_samples={self.costly_samples} at most samples"
            )


def read(source: str | Path) -> Grid:
    """Return the grid in a TOML file, or that of a tier by its name.

    Raises:
        FileNotFoundError: where it is neither a tier nor a file.
        ValueError: for a file that is no TOML, or a key or value that is not known, naming it.
    """
    if str(source) in TIERS:
        place = resources.files("fimetric.benchmark") / "tiers" / f"{source}.toml"
        text, name = place.read_text(encoding="utf-8"), str(source)
    else:
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(f"{source} is no file and no tier; tiers: {', '.join(TIERS)}")
        text, name = path.read_text(encoding="utf-8"), path.stem
    try:
        found = tomllib.loads(text)
        return _grid(found, name)
    except (tomllib.TOMLDecodeError, ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error


def _grid(found: dict[str, Any], name: str) -> Grid:
    families = found.pop("families", {})
    sets = tuple(_own(table, families) for table in found.pop("sets", []))
    return _make(Grid, {**found, "sets": sets, "name": name}, "the file")


def _own(table: dict[str, Any], families: dict[str, Any]) -> Own:
    """Return an own set; what it says of a family's models overrides what holds for all sets."""
    where = f"sets: {table.get('data', '?')}"
    models = tuple(
        _make(Recipe, {**families.get(kind, {}), **special, "kind": kind}, f"{where}: {kind}")
        for kind, special in table.pop("models", {kind: {} for kind in families}).items()
    )
    return _make(Own, {**table, "models": models}, where)


def _make(cls: type[Any], table: Mapping[str, Any], where: str) -> Any:
    known = [f.name for f in fields(cls)]
    for key in table:
        if key not in known:
            raise ValueError(f"{where} has no setting {key!r}; there are {', '.join(known)}")
    for f in fields(cls):
        if f.name in table and f.type is int and type(table[f.name]) is not int:
            raise ValueError(f"{where}: {f.name} must be a whole number, got {table[f.name]!r}")
    try:
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
    except TypeError as error:  # a setting that is missing
        raise ValueError(
            f"{where}: {str(error).removeprefix(f'{cls.__name__}.__init__() ')}"
        ) from error


def _known(what: str, names: tuple[str, ...], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
