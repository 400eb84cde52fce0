"""What is differentiated: a batch -> one loss per sample.

    l(x) = -log p(x), or a bound of it, or what stands for it, in nats          (N,)

An objective never changes its model's training flags, and its noise is fixed: one draw per seed and
view, the same for all samples. It may have several views (timesteps, noise draws); their features
stand side by side.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from fimetric.arguments import seed_of, shown, whole
from fimetric.data.spec import Spec
from fimetric.noise import fixed_noise, own_noise

Batch = Tensor | dict[str, Tensor]
Losses = Callable[[Batch], Tensor]


class Objective(nn.Module):
    """Creates an objective from any function of a batch.

    Arguments:
        function: batch -> losses (N,), each a function of its own sample alone.
        module: the model whose parameters are differentiated.
        seed: of the noise, for the objectives that use any.

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

    def __init__(self, function: Losses, module: nn.Module, seed: int = 0) -> None:
        super().__init__()
        if not callable(function):
            raise TypeError(f"function must be callable with a batch, not {shown(function)}")
        self.module = module_of(module, type(self).__name__)
        self.function = function
        self.seed = seed_of(seed)

    @property
    def spec(self) -> Spec | None:
        """What the samples must look like, as far as the loss itself says; None if it does not."""
        return None

    def views(self) -> dict[str, Losses]:
        """Return the named losses whose features stand side by side.

        A part ``draw=k`` of a name marks draws of the same noise, whose log norms are averaged.
        """
        return {"": self.function}

    def forward(self, batch: Batch) -> Tensor:
        """Return the mean over all views of each sample's loss, (N,)."""
        return torch.stack([self.losses(name, batch) for name in self.views()]).mean(0)

    def losses(self, view: str, batch: Batch) -> Tensor:
        """Return the losses (N,) of one view.

        Raises:
            RuntimeError: where a layer of the model is in training mode and would add noise or mix
                samples.
            ValueError: where the function does not return one loss per sample.
        """
        losses = self.views()[view](self.prepared(batch))
        samples = len(values_of(batch)[0])
        if not isinstance(losses, Tensor) or losses.shape != (samples,):
            shape = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
            raise ValueError(
                f"{type(self).__name__} must return one loss per sample, ({samples},); got "
                f"{shape}. Sum over all dimensions but the first, and do not average over the batch"
            )
        return losses

    def prepared(self, batch: Batch) -> Batch:
        """Return the batch in the model's number format.

        Raises:
            RuntimeError: where a layer is in training mode, see ``losses``.
        """
        refuse_training_mode(self.module)
        return self._cast(batch)

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

    def data_dimension(self, batch: Batch) -> int:
        """Return the number of dimensions of one sample, for bits per dimension."""
        return max(1, values_of(batch)[0][0].numel())

    def describe(self) -> str:
        """Return what is differentiated, in words that change when it does."""
        settings = "".join(f", {name}={value}" for name, value in self.settings().items())
        noise = ", noise=own" if self.own_noise else ""
        return f"{type(self).__name__}({type(self.module).__name__}{settings}{noise})"

    def settings(self) -> dict[str, Any]:
        """Return what the objective was made with, as values for JSON, without model and seed."""
        return {}

    def _cast(self, batch: Batch) -> Batch:
        """Bring floating-point data to the model's number format."""
        kinds = {p.dtype for p in self.module.parameters() if p.is_floating_point()}
        kind = kinds.pop() if len(kinds) == 1 else None

        def cast(x: Tensor) -> Tensor:
            return x.to(kind) if kind is not None and x.is_floating_point() else x

        return {k: cast(v) for k, v in batch.items()} if isinstance(batch, dict) else cast(batch)


def values_of(batch: Batch) -> list[Tensor]:
    """Return the tensors of a batch, the data first."""
    if isinstance(batch, dict):
        first = [key for key in ("x", "image", "input_ids") if key in batch]
        return [batch[key] for key in [*first, *(k for k in batch if k not in first)]]
    return [batch]


def data_of(batch: Batch) -> Tensor:
    """Return the data of a batch: itself, its entry ``x`` or ``image``, or its first entry."""
    return values_of(batch)[0]


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


def refuse_training_mode(module: nn.Module) -> None:
    """Raise where a layer in training mode would make losses random or mix samples.

    Raises:
        RuntimeError: naming the layer.
    """
    for name, layer in _unruly(module):
        raise RuntimeError(
            f"{name or 'the model'} ({type(layer).__name__}) is in training mode, so a loss would "
            "not be a function of its sample alone; call model.eval()"
        )


def _unruly(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, layer in module.named_modules():
        if not layer.training:
            continue
        drops = isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and layer.dropout > 0
        drops |= isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0
        if drops or isinstance(layer, nn.modules.batchnorm._BatchNorm):
            yield name, layer


def refuse_no_draws(draws: int) -> None:
    """Raise ValueError where there would be no noise draw at all."""
    whole("draws", draws)
