"""Losses of models that see noisy data and a noise level: what diffusion and flows share."""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from fimetric.arguments import listed, seed_of, whole
from fimetric.data.batch import Input
from fimetric.data.kinds import data_of
from fimetric.data.spec import Spec
from fimetric.fingerprint.structure import original
from fimetric.objectives.base import Losses, Objective
from fimetric.objectives.takes import number_format

TIMESTEPS = (0, 50, 300)  # of 1,000; how they were chosen is told in docs/results/selection.md
SCALES = (0, 10, 30, 100, 200, 300, 400, 500, 600, 800)  # of 1,000, early ones closer together


class Teller(Protocol):
    """Turns the values of a condition, such as labels, into what a model gets of them."""

    def __call__(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return name -> tensor (N, ...)."""
        ...

    def null(self, like: Tensor) -> dict[str, Tensor]:
        """Return what the model gets of samples (N, ...) of which nothing is known."""
        ...


class Noising(Objective, ABC):
    """Base of losses at fixed noise levels: a sample x is made noisy, and a model predicts.

        x_t = s_t x + n_t eps

    A subclass refuses other schedulers (``_refuse_others``). It says how many levels there are
    (``_length``), s_t and n_t (``_levels``), what the model predicts (``_target``), how it is told
    the level (``_told_time``), and what is summed of the error (``_sum``).

    Arguments:
        module: (x_t, timesteps (N,)) -> prediction, as a tensor, a tuple or with ``.sample``.
            Entries of a batch other than the data are passed on by name.
        scheduler: of the noise levels.
        timesteps: 0-based from the clean end, each with its own columns.
        draws: noise draws per timestep; their log norms are averaged.
        centred: whether images in [0, 1] are brought to [-1, 1] first.
        seed: of the noise.

    Two modules may be set, which are hashed and not differentiated. ``encoder`` brings x to where
    the noise is added, such as latents. ``teller`` turns the column ``condition`` into what the
    model is told; without a condition the model is told its null.

    Raises:
        ValueError: for timesteps that are none, repeated, or out of range, and no draws.
    """

    encoder: nn.Module | None
    teller: Teller | None
    shape: tuple[int | None, ...] | None = None
    """Shape (C, H, W) of the pictures, where it is known."""

    def __init__(
        self,
        module: nn.Module,
        scheduler: Any,
        timesteps: Sequence[int],
        draws: int,
        centred: bool,
        seed: int,
    ) -> None:
        super().__init__(self.forward, module, seed)
        whole("draws", draws)
        self._refuse_others(scheduler)
        self.scheduler, self.draws, self.centred = scheduler, draws, centred
        self.timesteps = _indices(timesteps, self._length())
        self._named_time = "timestep" in signature(original(module).forward).parameters
        self.register_module("encoder", None)
        self.register_module("teller", None)

    @property
    def spec(self) -> Spec | None:
        """Images in [0, 1], where they are centred here or of a known shape."""
        if not self.centred and self.shape is None:
            return None
        return Spec("floats", self.shape, low=0.0, high=1.0)

    def views(self) -> dict[str, Losses]:
        """Return one view per timestep and draw."""
        return {
            f"t={t}/draw={k}": self._view(t, f"t={t}/draw={k}")
            for t in self.timesteps
            for k in range(self.draws)
        }

    def _view(self, t: int, name: str) -> Losses:
        def losses(batch: Input) -> Tensor:
            x = self.clean(data_of(batch))
            eps = self._noise(name, x.shape[1:], x, "normal")
            predicted = self._predict(self._noisy(x, eps, t), t, batch)
            return self._sum(self._target(x, eps, t) - predicted)

        return losses

    def scale_losses(self, batch: Input) -> Tensor:
        """Return the losses (N, T, D) of samples at T timesteps and D draws of noise."""
        found = torch.stack([self.losses(view, batch) for view in self.views()], 1)
        return found.unflatten(1, (len(self.timesteps), self.draws))

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        if not costly:  # the losses of the views stand beside any features already
            return {}
        scales = self.at(in_proportion(self._length(), SCALES))
        means = scales.scale_losses(batch).mean(2)
        return {f"loss/t={t}": means[:, k] for k, t in enumerate(scales.timesteps)}

    def at(
        self, timesteps: Sequence[int], draws: int | None = None, seed: int | None = None
    ) -> Self:
        """Return the objective at other timesteps, with other draws or another seed if given."""
        other = copy.copy(self)
        other.timesteps = _indices(timesteps, self._length())
        other.draws = self.draws if draws is None else whole("draws", draws)
        other.seed = self.seed if seed is None else seed_of(seed)
        return other

    def clean(self, x: Tensor) -> Tensor:
        """Return samples (N, ...) as noise is added to them: centred, and encoded if at all."""
        x = 2 * x - 1 if self.centred else x
        return x if self.encoder is None else self.encoder(x)

    def _noisy(self, x: Tensor, eps: Tensor, t: int) -> Tensor:
        signal, noise = self._levels(t, x)
        return signal * x + noise * eps

    @abstractmethod
    def _refuse_others(self, scheduler: Any) -> None: ...

    @abstractmethod
    def _length(self) -> int: ...

    @abstractmethod
    def _levels(self, t: int, like: Tensor) -> tuple[Tensor | float, Tensor | float]: ...

    @abstractmethod
    def _target(self, x: Tensor, eps: Tensor, t: int) -> Tensor: ...

    @abstractmethod
    def _told_time(self, t: int, like: Tensor) -> Tensor: ...

    def _sum(self, error: Tensor) -> Tensor:
        return error.square().flatten(1).sum(1)

    def _predict(self, noisy: Tensor, t: int, batch: Input) -> Tensor:
        kind, steps = number_format(self.module) or noisy.dtype, self._told_time(t, noisy)
        others = self._others(batch, noisy)
        if self._named_time:
            found = self.module(noisy.to(kind), timestep=steps, **others)
        else:
            found = self.module(noisy.to(kind), steps, **others)
        found = getattr(found, "sample", found)
        found = found[0] if isinstance(found, tuple) else found
        found = found[:, : noisy.shape[1]]  # the rest, if any, is a learned variance
        if found.shape != noisy.shape:
            raise ValueError(
                f"{type(self.module).__name__} predicts {tuple(found.shape)} for data of shape "
                f"{tuple(noisy.shape)}; it must predict one value per dimension"
            )
        return found.to(noisy.dtype)

    def _others(self, batch: Input, noisy: Tensor) -> dict[str, Tensor]:
        """Return what the model gets by name: other entries of the batch, or its null.

        Raises:
            ValueError: where the batch does not have what the condition tells.
        """
        given = dict(batch) if isinstance(batch, dict) else {}
        others = {key: value for key, value in given.items() if value is not data_of(batch)}
        if self.teller is None:
            return others
        if self.condition is None:
            return {**self.teller.null(noisy), **others}
        if not others:
            raise ValueError(
                f"the loss is told the column {self.condition!r}, and got data alone; give samples "
                f"as {{'x': ..., {self.condition!r}: ...}} to a Detector or to extract"
            )
        return others

    def tell(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return what the model gets of the values of ``condition``: name -> tensor (N, ...)."""
        return super().tell(values) if self.teller is None else self.teller(values)

    def settings(self) -> dict[str, Any]:
        """Return the timesteps and draws, and what goes with the data."""
        found = {"timesteps": list(self.timesteps), "draws": self.draws, "centred": self.centred}
        if self.encoder is not None:
            found["encoder"] = type(self.encoder).__name__
        if self.teller is not None:
            found["condition"] = self.condition
        return found

    def _cast(self, batch: Input) -> Input:
        """Bring data to the model's number format, and to float32 where that is coarser.

        Losses are differences of large numbers, and an encoder sees fine ones.
        """
        kind = number_format(self.module)
        cast, x = super()._cast(batch), data_of(batch)
        if kind is None or not x.is_floating_point():
            return cast
        x = x.to(torch.promote_types(kind, torch.float32))
        if not isinstance(batch, dict):
            return x
        assert isinstance(cast, dict)
        return {key: x if batch[key] is data_of(batch) else value for key, value in cast.items()}


def several(scheduler: Any) -> tuple[int, ...]:
    """Return ``TIMESTEPS`` in proportion to a scheduler's number of noise levels.

    Raises:
        ValueError: where it does not say that number.
    """
    return in_proportion(steps_of(scheduler))


def in_proportion(length: int, timesteps: Sequence[int] = TIMESTEPS) -> tuple[int, ...]:
    """Return timesteps of 1,000 in proportion to a schedule of so many, without repeats.

    >>> in_proportion(1000), in_proportion(100), in_proportion(10)
    ((0, 50, 300), (0, 5, 30), (0, 3))
    """
    return tuple(dict.fromkeys(t * length // 1000 for t in timesteps))


def steps_of(scheduler: Any) -> int:
    """Return the number of noise levels that a scheduler's model was trained on.

    Raises:
        ValueError: where it does not say.
    """
    found = said(scheduler, "num_train_timesteps", None)
    if found is None:
        raise ValueError(
            f"{type(scheduler).__name__} has no config.num_train_timesteps, the number of noise "
            "levels; pass a scheduler of diffusers"
        )
    return whole("num_train_timesteps", found)


def said(scheduler: Any, name: str, default: Any) -> Any:
    """Return a setting from a scheduler's config, a dictionary or an object, or from itself."""
    config = getattr(scheduler, "config", None)
    if isinstance(config, Mapping):
        return config.get(name, default)
    return getattr(scheduler if config is None else config, name, default)


def _indices(timesteps: Sequence[int], steps: int) -> tuple[int, ...]:
    """Return timesteps as they are given.

    Raises:
        ValueError: for none, repeated ones, or some out of range.
    """
    given = listed("timesteps", timesteps, "(0, 50, 300)")
    found = tuple(whole("a timestep", t, -math.inf) for t in given)
    wrong = [t for t in found if not 0 <= t < steps]
    if wrong or not found or len(set(found)) < len(found):
        raise ValueError(f"timesteps must be different indices from 0 to {steps - 1}; got {found}")
    return found
