"""What is differentiated: a batch -> one loss per sample.

    l(x) = -log p(x), or a bound of it, or what stands for it, in nats          (N,)

An objective never changes its model's training flags, and its noise is fixed: one draw per seed and
view, the same for all samples. It may have several views (timesteps, noise draws); their features
stand side by side.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from fimetric.arguments import seed_of, shown
from fimetric.data.batch import Batch, Input, join
from fimetric.data.codes import picture_codes
from fimetric.data.keys import ALONE, ARGUMENTS
from fimetric.data.kinds import data_of, sizes_of
from fimetric.data.reader import Reader
from fimetric.data.rows import samples_named
from fimetric.data.spec import Spec
from fimetric.features.table import CODE
from fimetric.fingerprint.structure import named, original
from fimetric.noise import fixed_noise, own_noise
from fimetric.objectives.one_pass import Shared
from fimetric.objectives.steadiness import refuse_changing, refuse_training_mode
from fimetric.objectives.takes import number_format
from fimetric.objectives.transparent import transparent

Losses = Callable[[Input], Tensor]


class Objective(nn.Module):
    """Creates an objective from any function of a batch.

    Arguments:
        function: batch -> losses (N,), each a function of its own sample alone.
        module: the model whose parameters are differentiated.
        seed: of the noise, for the objectives that use any.
        name: of the loss, in your own words, changed whenever the loss changes. Without it the loss
            is told by the function's qualified name, and by what it computes of made-up rows.

    A subclass has ``views``, or ``forward`` where there is one loss. If it takes arguments of its
    own it has ``settings`` that returns them, or a ``name``.

    Raises:
        TypeError: where the function is none, or a subclass has no loss.

    Example:
        >>> model = torch.nn.Linear(3, 3)
        >>> objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
        >>> objective(torch.ones(5, 3)).shape
        torch.Size([5])
    """

    kind: ClassVar[str] = "loss"
    """What the loss is, in words: only of a ``likelihood`` is the gradient known to be a score."""
    own_noise: bool = False
    """Whether each sample has noise of its own; see ``with_own_noise``."""
    condition: str | None = None
    """The column beside the data, such as ``label``, that the loss is told of each sample."""
    _opened: Any = None  # no part of what the loss is: the same model may lie elsewhere

    def __init__(
        self, function: Losses, module: nn.Module, seed: int = 0, *, name: str | None = None
    ) -> None:
        super().__init__()
        if not callable(function):
            raise TypeError(f"function must be callable with a batch, not {shown(function)}")
        self._refuse_no_loss(function)
        self.module = module_of(module, type(self).__name__)
        self.function = function
        self.seed = seed_of(seed)
        self.name = name

    def _refuse_no_loss(self, function: Losses) -> None:
        """Refuse a subclass that has nothing to compute.

        Raises:
            TypeError: saying what to define.
        """
        kind = type(self)
        own = kind.views is not Objective.views or kind.forward is not Objective.forward
        if getattr(function, "__func__", None) is Objective.forward and not own:
            raise TypeError(
                f"{kind.__name__} has no loss: define views(), which returns named functions of a "
                "batch, or forward(batch), which returns losses (N,)"
            )

    @property
    def spec(self) -> Spec | None:
        """What the samples must look like, as far as the loss itself says; None if it does not."""
        return None

    @property
    def opened(self) -> Any:
        """How ``from_pretrained`` opened it, so that it can be opened again; None for others."""
        return self._opened

    @opened.setter
    def opened(self, how: Any) -> None:
        self._opened = how

    def views(self) -> dict[str, Losses]:
        """Return the named losses whose features stand side by side.

        A part ``draw=k`` of a name marks draws of the same noise, whose log norms are averaged.
        """
        return {"": self.function}

    def forward(self, batch: Input) -> Tensor:
        """Return the mean over all views of each sample's loss, (N,)."""
        return torch.stack([self.losses(name, batch) for name in self.views()]).mean(0)

    def losses(self, view: str, batch: Input) -> Tensor:
        """Return the losses (N,) of one view.

        Raises:
            RuntimeError: where a layer of the model is in training mode and would add noise or mix
                samples, or changes itself in each forward pass.
            ValueError: where the function does not return one loss per sample.
        """
        prepared = self.prepared(batch)
        with transparent(self.module):
            losses = self.views()[view](prepared)
        samples = len(values_of(batch)[0])
        if not isinstance(losses, Tensor) or losses.shape != (samples,):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"{type(self).__name__} must return one loss per sample, ({samples},); got "
                f"{shape}. Sum over all dimensions but the first, and do not average over the batch"
            )
        return losses

    def parts(self, batch: Input, costly: bool = False) -> dict[str, Tensor]:
        """Return what the losses consist of: name -> one number of each sample, (N,).

        Each depends on its sample alone, which there are on the samples' shapes alone. In float32
        at least, without a graph; the subclass says which they are, and in what units. Beside them
        stands what simple codes need for a sample, in nats per dimension (``data.codes``):
        ``code/zlib`` and, of pictures, ``/png`` and ``/jpeg2000``; nan for values not in [0, 1].

        Arguments:
            batch, costly: as ``losses`` takes it; whether with those that take several passes.

        Raises:
            RuntimeError, TypeError, ValueError: see ``losses``.
        """
        with torch.no_grad(), transparent(self.module):
            found = self._parts(self.prepared(batch), costly)
        for name, lengths in self._codes(batch).items():
            found[f"{CODE}{name}"] = lengths / self.dimensions(batch).to(lengths)
        return {n: x.to(torch.promote_types(x.dtype, torch.float32)) for n, x in found.items()}

    def _parts(self, batch: Input, costly: bool) -> dict[str, Tensor]:
        """Return the parts (N,) of a prepared batch; none here, for a function tells none."""
        return {}

    def shared(self) -> list[Shared]:
        """Return the methods whose results losses and parts are made of, see ``OnePass``."""
        return []

    def _codes(self, batch: Input) -> dict[str, Tensor]:
        """Return name of a code -> its lengths (N,) of samples as they were given, in nats."""
        return picture_codes(data_of(batch, likely=True))

    def prepared(self, batch: Input) -> Input:
        """Return the batch in the model's number format.

        Raises:
            RuntimeError: where a layer is in training mode, see ``losses``.
        """
        refuse_training_mode(self.module)
        refuse_changing(self.module)
        return self._cast(batch)

    def prepare(self, samples: Sequence[Any]) -> Input:
        """Return samples as they were given, such as texts, as the tensors that the loss takes.

        This is what ``fimetric.data.batches`` makes of them; who takes texts makes tokens here.

        Raises:
            TypeError: for texts, where the objective does not say what to make of them.
        """
        return join(list(Reader(max(len(samples), 1)).parts(list(samples)))).x

    def conditioned(self, batch: Batch) -> Batch:
        """Return a batch with what the loss is told of its samples; as it is without ``condition``.

        Raises:
            ValueError: where the samples have no such column, naming those that they have.
        """
        if self.condition is None:
            return batch
        if self.condition not in batch.kept:
            raise ValueError(
                f"the loss is told the column {self.condition!r} of each sample, and the data have "
                f"{', '.join(batch.kept) or 'none'} beside them; give samples as "
                f"{{'x': ..., {self.condition!r}: ...}}"
            )
        with samples_named(batch.ids):
            return replace(batch, x=batch.entries() | self.tell(batch.kept[self.condition]))

    def tell(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return what the loss gets of the values of ``condition``: name -> tensor (N, ...).

        Raises:
            NotImplementedError: where an objective with a condition does not say.
        """
        raise NotImplementedError(f"{type(self).__name__} has a condition and no tell(values)")

    def with_own_noise(self) -> Self:
        """Return the objective with a draw of the noise for each sample, told by its content.

        Scores use one draw for all samples, so that they differ by the samples alone; a mean over
        samples then is a mean at that one draw. Here it is one over the noise, too.
        """
        other = copy.copy(self)
        other.own_noise = True
        return other

    def _noise(self, name: str, shape: Sequence[int], like: Tensor, kind: str) -> Tensor:
        """Return the noise of a batch in one view, see ``fimetric.noise``."""
        return (own_noise if self.own_noise else fixed_noise)(self.seed, name, shape, like, kind)

    def dimensions(self, batch: Input) -> Tensor:
        """Return the number of dimensions of each sample (N,), int64, for bits per dimension.

        It is also the length of a sample; padding is no part of it.
        """
        return sizes_of(batch)

    def describe(self) -> str:
        """Return what is differentiated, in words that change when it does."""
        settings = "".join(f", {name}={value}" for name, value in self.settings().items())
        noise = ", noise=own" if self.own_noise else ""
        name = "" if self.name is None else f", name={self.name!r}"
        if type(self) is Objective and self.name is None:
            name = f", function={named(self.function)}"
        model = type(original(self.module)).__name__
        return f"{type(self).__name__}({model}{settings}{name}{noise})"

    def settings(self) -> dict[str, Any]:
        """Return what the objective was made with, as values for JSON, without model and seed."""
        return {}

    def _cast(self, batch: Input) -> Input:
        """Return a copy, in the model's number format: a loss may write into what it is given."""
        kind = number_format(self.module)

        def cast(x: Tensor) -> Tensor:
            return x.to(kind if kind and x.is_floating_point() else x.dtype, copy=True)

        return {k: cast(v) for k, v in batch.items()} if isinstance(batch, dict) else cast(batch)


def values_of(batch: Input) -> list[Tensor]:
    """Return the tensors of a batch, the data first where they have a known name."""
    if isinstance(batch, dict):
        first = [key for key in ALONE + ARGUMENTS if key in batch]
        return [batch[key] for key in [*first, *(k for k in batch if k not in first)]]
    return [batch]


def as_objective(objective: Any) -> Objective:
    """Return an objective as it is given.

    Raises:
        TypeError: for a model alone, or anything else.
    """
    if isinstance(objective, Objective):
        return objective
    known = "Denoising, NegativeLogLikelihood, NegativeELBO, CausalLM or Objective(function, model)"
    if isinstance(objective, nn.Module):
        raise TypeError(
            f"objective is {type(objective).__name__}, a model alone: say which loss is "
            f"differentiated by wrapping it in one of fimetric.objectives: {known}"
        )
    raise TypeError(
        f"objective is {shown(objective)}; pass one of fimetric.objectives, made with its model: "
        f"{known}"
    )


def module_of(module: Any, objective: str) -> nn.Module:
    """Return the model of an objective as it is given.

    Raises:
        TypeError: for what is no ``torch.nn.Module``, a class of one among it.
    """
    if isinstance(module, nn.Module):
        return module
    raise TypeError(
        f"the model of {objective} must be a torch.nn.Module, which holds the weights, not "
        f"{shown(module)}"
    )
