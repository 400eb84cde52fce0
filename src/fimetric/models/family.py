"""What the program knows of a kind of model: one row each, filled in by ``fimetric.families``.

Whatever needs something of a model asks for what its family has, never for a family by name.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Generator, Tensor, nn

from fimetric.arguments import shown
from fimetric.data import Samples
from fimetric.store.files import safe_name

SCHEDULE = "a noise schedule"
DENOISER = "a prediction of the noise under a schedule of discrete diffusion"
BOUND = "a bound with a posterior of its own"
LATENT_MAP = "an invertible map to latents"
NATS = "a likelihood in nats"
SAMPLES = {  # kind of sample -> what its sides are
    "images": ("channels", "height", "width"),
    "sounds": ("values",),
    "tables": ("columns",),
    "texts": ("tokens",),
}

Draw = Callable[[int, Generator], Tensor]


class Model(nn.Module, ABC):
    """A reference model: a module with ``config`` and ``shape`` that trains and samples itself.

    A class has ``Config``, a frozen dataclass, and ``CONFIGS``, some of them by name; it is made by
    ``cls(config, shape)``. x is float32 (N, *shape), of images in [0, 1] = k/255, unless ``taken``
    makes another tensor of samples; generators live on the CPU.
    """

    Config: ClassVar[type]
    CONFIGS: ClassVar[Mapping[str, Any]]
    FIRST: ClassVar[int | None] = 256
    """How many samples ``initialise`` gets at least; None for all of the training part."""
    LEARNED: ClassVar[frozenset[str]] = frozenset()
    """Fields of the configuration that ``fitting`` takes from training data."""
    UNIT: ClassVar[str] = "dimension"
    """What ``bits_per_dim`` counts bits by."""
    HELD_OUT: ClassVar[float] = 0.05
    """Share of the training data, up to a limit, that is held out to validate on."""
    config: Any
    shape: tuple[int, ...]

    @classmethod
    def fitting(cls, config: Any, samples: Samples) -> tuple[Any, tuple[int, ...]]:
        """Return configuration and shape of a model of such samples: here what they are already."""
        return config, samples.shape

    def taken(self, samples: Samples, rows: Sequence[int] | Tensor) -> Tensor:
        """Return the samples at some rows as the tensor that losses are taken of."""
        return samples.tensor(rows).to(next(self.parameters()).dtype)

    def sizes(self, x: Tensor) -> float:
        """Return the mean number of dimensions of samples x, which losses are divided by."""
        return math.prod(self.shape)

    def initialise(self, x: Tensor) -> None:
        """Set what is set from the first samples x, once before training; by default nothing."""

    @abstractmethod
    def training_losses(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return what training minimises, (N,), per sample."""

    @abstractmethod
    def bits_per_dim(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return an upper bound (N,) on the code length of 8-bit x, in bits per dimension.

        Of samples that are real numbers it is the negative log density to base 2 per dimension, and
        of texts the code length per byte.
        """

    @abstractmethod
    def sample(self, n: int, generator: Generator | None) -> Tensor:
        """Return n draws (n, *shape), images in [0, 1] and texts as token ids, without a graph.

        A model of something that is made of samples returns draws of that.
        """


@dataclass(frozen=True)
class Draws:
    """Samples of a model for claims about it.

    Arguments:
        draw: returns n of them; nan where one is lost.
        words: what they are.
        continuous: whether they are draws of a density, which the objective takes without
            dequantisation, or 8-bit images.
        control: a slower way to draw them that is exact, where there is one.
    """

    draw: Draw
    words: str
    continuous: bool = False
    control: Draw | None = None


def eight_bit(model: Any) -> Draws:
    """Return a model's own samples."""
    return Draws(model.sample, "8-bit draws")


@dataclass(frozen=True)
class Family:
    """A kind of model, and all that the program does differently for it.

    Arguments:
        kind: its name, on the command line and in files.
        model: its class.
        objective: (model, timesteps or None, draws, seed) -> the objective it is scored with.
        has: of ``SCHEDULE``, ``DENOISER``, ``BOUND``, ``LATENT_MAP``, ``NATS``.
        noise: whether its objective draws noise, so that several draws make sense.
        recipe: settings of training that differ from those of ``Recipe``.
        timesteps: of a family with a schedule: those that a model is judged at unless others are
            asked for.
        samples: kind of sample, of ``SAMPLES``.
        draws: samples of a model for claims about it; None where a model draws something else.

    Raises:
        TypeError: for a class that is no ``Model`` with configurations, or no objective.
        ValueError: for a name that no file can have, or a word that is not known among ``has`` and
            ``samples``.
    """

    kind: str
    model: type[Model]
    objective: Callable[[Any, Any, int, int], Any]
    has: frozenset[str] = frozenset()
    noise: bool = False
    recipe: Mapping[str, Any] = field(default_factory=dict)
    timesteps: Callable[[Any], tuple[int, ...]] | None = None
    samples: str = "images"
    draws: Callable[[Any], Draws] | None = eight_bit

    def __post_init__(self) -> None:
        """Check what would fail only where it is used; see ``Raises`` above."""  # noqa: DOC501
        if not isinstance(self.kind, str) or not self.kind or self.kind != safe_name(self.kind):
            raise ValueError(f"kind is {self.kind!r}; it must be a name that a file can have")
        known = isinstance(self.model, type) and issubclass(self.model, Model)
        if not known or not (hasattr(self.model, "Config") and hasattr(self.model, "CONFIGS")):
            raise TypeError(
                f"model is {shown(self.model)}; it must be a class made from fimetric.models.Model "
                "that has Config and CONFIGS"
            )
        if not callable(self.objective):
            raise TypeError("objective must be a function (model, timesteps, draws, seed)")
        for name, words, allowed in (
            ("has", set(self.has), {SCHEDULE, DENOISER, BOUND, LATENT_MAP, NATS}),
            ("samples", {self.samples}, set(SAMPLES)),
        ):
            if not words <= allowed:
                raise ValueError(
                    f"{name} names {', '.join(map(repr, sorted(words - allowed)))}; there are "
                    f"{', '.join(map(repr, sorted(allowed)))}"
                )


FAMILIES: dict[str, Family] = {}


def family(kind: str) -> Family:
    """Return a family by name.

    Raises:
        ValueError: for a name that is not known, listing those that are.
    """
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ValueError(
            f"unknown kind of model {kind!r}; known are {', '.join(FAMILIES)}, and what "
            "fimetric.families.register makes known"
        )
    return FAMILIES[kind]


def family_of(model: Any) -> Family:
    """Return the family of a model.

    Raises:
        TypeError: for a module that is no reference model.
    """
    for each in FAMILIES.values():
        if type(model) is each.model:
            return each
    raise TypeError(f"{type(model).__name__} is no reference model; they are {', '.join(FAMILIES)}")
