"""A benchmark as one TOML file: read, and checked before any work is done."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from fimetric.arguments import folder_of, made
from fimetric.benchmark.methods import METHODS, STANDARD
from fimetric.benchmark.own import Own, Trained
from fimetric.benchmark.variants import NEAR

TIERS = ("smoke", "cpu", "paper")
FIT, CALIBRATE = 0.25, 0.25  # of the held-out data; the rest is for the test
SAMPLES, COSTLY, SIZES, FIGURE = 500, 200, (1, 5, 20), ("typicality", "fimetric")
"""What is taken where nothing else is written, as far as what is written allows it."""
FOLLOWS: Any = None  # what is written; ``Grid`` sets it when it is made


@dataclass(frozen=True)
class Grid:
    """All that a benchmark is made of; what is left out follows what is there.

    Arguments:
        sets: in-distribution sets.
        held_out: held-out samples of each: a quarter for the density, a quarter for the
            calibration, half for the test. A ``reference`` is taken whole.
        samples: test samples of each set; if left out 500, or half of ``held_out``.
        fewest: test samples that will do where a set has no more, by default ``samples``.
        costly_samples: of each set, for methods that are costly; if left out 200, or ``samples``.
        group_sizes: samples judged together, 1 among them; if left out those of 1, 5 and 20 that
            the numbers of samples allow.
        consecutive: group sizes that are also judged in the order of the file.
        methods: names in ``METHODS``; if left out all but those of ``ASKED``, and one that cannot
            be tried is then left out too.
        looks: variants of own test images that count as near sets; other samples have none.
        figure: the two methods of the picture, or the one; if left out see ``pictured``.
        leak_checks: whether every method is also asked to tell the own test part from the
            calibration part, and from itself under another name, which none can.
        checkpoints: folder of trained models; one that is not there is trained in the run's folder.
        size: side to which pictures of any data are resized; as they are if left out.
        seed: of splits, groups, noise and bootstrap.
        batch_size: samples to a forward pass.
        device: where models are trained and samples go through them.
    """

    sets: tuple[Own, ...]
    held_out: int = 2000
    samples: int = FOLLOWS
    fewest: int | None = None
    costly_samples: int = FOLLOWS
    group_sizes: tuple[int, ...] = FOLLOWS
    consecutive: tuple[int, ...] = ()
    methods: tuple[str, ...] = STANDARD
    looks: tuple[str, ...] = tuple(NEAR)
    figure: tuple[str, ...] = FOLLOWS
    leak_checks: bool = False
    checkpoints: str | None = None
    size: int | None = None
    seed: int = 0
    batch_size: int = 100
    device: str = "cpu"
    name: str = field(default="benchmark", compare=False)

    def __post_init__(self) -> None:
        """Fill in what is left out, and check names and sizes.

        Raises:
            ValueError: for unknown or repeated names, sizes out of range, or too few samples for
                the groups.
        """
        self._fill()
        self._check_names()
        self._check_groups()
        self._check_samples()
        if min(self.batch_size, self.size or 1) < 1 or self.seed < 0:
            raise ValueError("batch_size and size start at 1, seed at 0")
        if len({own.name for own in self.sets}) < len(self.sets) or not self.sets:
            raise ValueError(
                "name at least one in-distribution set, each once; name = tells apart those of "
                "one name"
            )

    @property
    def fit(self) -> int:
        """How many of the held-out samples a density is fitted on."""
        return int(FIT * self.held_out)

    @property
    def named(self) -> bool:
        """Whether the methods were named, so that one that cannot be tried is an error."""
        return self.methods != STANDARD

    def _fill(self) -> None:
        """Let what was left out follow the rest."""
        self._set("samples", min(SAMPLES, self.held_out - 2 * self.fit))
        self._set("costly_samples", min(COSTLY, self.samples))
        most = min(min(self.fit, self.costly_samples) // 2, self.fewest or self.samples)
        self._set("group_sizes", tuple(size for size in SIZES if size <= max(most, 1)))
        self._set("figure", pictured(self.methods))

    def _set(self, name: str, value: Any) -> None:
        if getattr(self, name) is FOLLOWS:
            object.__setattr__(self, name, value)

    def _check_names(self) -> None:
        if not self.methods:
            raise ValueError("methods names none")
        _known("method", (*self.methods, *self.figure), METHODS)
        _known("look", self.looks, NEAR)
        if not 1 <= len(self.figure) <= 2 or not set(self.figure) <= set(self.methods):
            raise ValueError(f"figure must name one or two of the methods, got {self.figure}")
        for name in ("methods", "group_sizes", "consecutive", "looks"):
            if len(set(getattr(self, name))) < len(getattr(self, name)):
                raise ValueError(f"{name} names one twice: {getattr(self, name)}")

    def _check_groups(self) -> None:
        sizes, largest = self.group_sizes, max(self.group_sizes, default=0)
        if 1 not in sizes or min(sizes) < 1:
            raise ValueError(f"group_sizes must be positive and hold 1, got {sizes}")
        if not set(self.consecutive) <= set(sizes) - {1}:
            raise ValueError(
                f"consecutive must be group sizes above 1, got {self.consecutive}; group_sizes are "
                f"{sizes}"
            )
        if self.fewest is not None and not largest <= self.fewest <= self.samples:
            raise ValueError(
                f"fewest={self.fewest} must be at least the largest group and at most "
                f"samples={self.samples}; group_sizes are {sizes}"
            )
        if self.fit < 2 * largest or self.costly_samples < 2 * largest:
            raise ValueError(
                f"groups of {largest} need at least {2 * largest} samples to fit and to test on; "
                f"there are {self.fit}, a quarter of held_out={self.held_out}, and "
                f"costly_samples={self.costly_samples}: raise these, or take {largest} out of "
                "group_sizes"
            )

    def _check_samples(self) -> None:
        if self.samples > self.held_out - 2 * self.fit:
            raise ValueError(
                f"samples={self.samples} must be at most half of held_out={self.held_out}; set "
                "either"
            )
        if self.costly_samples > self.samples:
            raise ValueError(
                f"costly_samples={self.costly_samples} must be at most samples={self.samples}; "
                "set either"
            )


def pictured(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return the two of some methods that a picture shows, or the one that there is.

    >>> pictured(("likelihood", "typicality", "fimetric")), pictured(("waic", "fimetric"))
    (('typicality', 'fimetric'), ('waic', 'fimetric'))
    >>> pictured(("waic", "likelihood", "min-k")), pictured(("fimetric",))
    (('waic', 'likelihood'), ('fimetric',))
    """
    if set(FIGURE) <= set(methods):
        return FIGURE
    last = FIGURE[1:] if FIGURE[1] in methods else ()
    others = [name for name in methods if name not in last]
    return (*others[: 2 - len(last)], *last)


def read(source: str | Path) -> Grid:
    """Return the grid in a TOML file, or that of a tier by its name.

    Raises:
        FileNotFoundError: where it is neither a tier nor a file.
        ValueError: for a file that is no TOML, or a key or value that is not known, naming it.
    """
    if str(source) in TIERS:
        place = resources.files("fimetric.benchmark") / "tiers" / f"{source}.toml"
        content, name = place.read_bytes(), str(source)
    else:
        path = folder_of(source, "config")
        if not path.is_file():
            raise FileNotFoundError(f"{source} is no file and no tier; tiers: {', '.join(TIERS)}")
        content, name = path.read_bytes(), path.stem
    try:
        return _grid(tomllib.loads(content.decode()), name)
    except ValueError as error:  # TOML and UTF-8 among them
        raise ValueError(f"{source}: {error}") from error


def _grid(found: dict[str, Any], name: str) -> Grid:
    families = _tables(found.pop("families", {}), "families")
    sets = found.pop("sets", [])
    if not isinstance(sets, list):
        raise ValueError("sets must be tables of their own, each under [[sets]]")
    owns = tuple(_own(table, families) for table in sets)
    return made(Grid, {**found, "sets": owns, "name": name}, "the file")


def _own(table: dict[str, Any], families: dict[str, Any]) -> Own:
    """Return an own set; what it says of a family's models overrides what holds for all sets."""
    where = f"sets: {table.get('data', '?')}"
    special = _tables(table.pop("models", {kind: {} for kind in families}), f"{where}: models")
    models = tuple(
        made(Trained, {**families.get(kind, {}), **each, "kind": kind}, f"{where}: {kind}")
        for kind, each in special.items()
    )
    return made(Own, {**table, "models": models}, where)


def _tables(found: Any, where: str) -> dict[str, Any]:
    if not isinstance(found, dict) or not all(isinstance(x, dict) for x in found.values()):
        raise ValueError(f"{where} must be a table with a table for each family")
    return found


def _known(what: str, names: tuple[str, ...], known: Mapping[str, Any]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"no {what} {name!r}; there are {', '.join(known)}")
