"""What libraries that look at module types need before they can read a model.

Each change leaves the function of the model as it is: values and gradients are the same. What was
changed is returned in words, for the table.
"""

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


class FixedBatchNorm(nn.Module):
    """Batch normalisation by its stored statistics, in a module without buffers."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.mean = norm.running_mean[:, None, None]
        self.inverse = (norm.running_var + norm.eps).rsqrt()[:, None, None]

    def forward(self, x: Tensor) -> Tensor:
        normal = (x - self.mean) * self.inverse
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


class AddedParameter(nn.Module):
    """``x + parameter`` (C, 1, 1) as the bias of a frozen 1x1 convolution by ones."""

    def __init__(self, parameter: nn.Parameter) -> None:
        super().__init__()
        C = len(parameter)
        self.layer = nn.Conv2d(C, C, 1, groups=C).to(parameter)
        nn.init.ones_(self.layer.weight).requires_grad_(False)
        self.layer.bias = nn.Parameter(parameter.detach().flatten())

    def __radd__(self, x: Tensor) -> Tensor:
        return self.layer(x)


class Prepared:
    """A model that was made readable, and its parameters by the names that they had before."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.names = [name for name, _ in module.named_parameters()]
        self.renamed: dict[str, str] = {}
        self.notes: list[str] = []

    @property
    def parameters(self) -> list[nn.Parameter]:
        found = dict(self.module.named_parameters(remove_duplicate=False))
        return [found[self.renamed.get(name, name)] for name in self.names]

    def owner(self, name: str) -> nn.Module:
        """Return the layer that holds a parameter."""
        return self.module.get_submodule(self.renamed.get(name, name).rpartition(".")[0])

    def replace(self, old: type[nn.Module], make, note: str) -> None:
        """Put ``make(layer)`` in the place of every layer of a type."""
        for path, layer in list(self.module.named_modules()):
            if type(layer) is old:
                self.module.set_submodule(path, make(layer))
                self.note(note)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def as_is(module: nn.Module) -> Prepared:
    """Return the model untouched."""
    return Prepared(module)


def in_training(module: nn.Module) -> Prepared:
    """Opacus reads modules in training mode only; a dropout of nothing keeps the function."""
    for layer in module.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    module.train()
    return Prepared(module)


def for_opacus(module: nn.Module) -> Prepared:
    """Opacus reads modules without buffers, of known types, from the outermost with parameters."""
    prepared = _readable(module)
    prepared.replace(nn.BatchNorm2d, FixedBatchNorm, "eval BatchNorm as fixed affine layers")
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):  # other strides are read wrongly, without an error
            layer.register_forward_pre_hook(_contiguous)
            prepared.note("inputs of convolutions made contiguous")
        for name, value in list(layer.named_buffers(recurse=False)):
            delattr(layer, name)
            setattr(layer, name, value)  # a tensor, no buffer any more
            prepared.note("buffers as plain tensors")
    if list(module.parameters(recurse=False)):
        # Parameters at the root: all of it is one layer then, which has to be called.
        module.forward = module.log_prob
        module.log_prob = module.__call__
        prepared.note("log_prob as forward, all of it one layer")
    in_training(module)
    return prepared


def for_backpack(module: nn.Module) -> Prepared:
    """BackPACK reads standard layers only, in any mode."""
    return _readable(module)


def _readable(module: nn.Module) -> Prepared:
    prepared = Prepared(module)
    prepared.replace(Conv1D, _linear, "Conv1D as Linear")
    if isinstance(getattr(module, "log_scale", None), nn.Parameter):
        added = AddedParameter(module.log_scale)
        del module.log_scale
        module.log_scale = added
        prepared.renamed["log_scale"] = "log_scale.layer.bias"
        prepared.note("parameter at the root as a bias")
    if hasattr(module, "transformer"):
        module.register_forward_pre_hook(_with_positions, with_kwargs=True)
        prepared.note("positions given per sample")
    return prepared


def _linear(layer: Conv1D) -> nn.Linear:
    """Return the same map with the weight transposed, which changes no norm."""
    I, O = layer.weight.shape
    linear = nn.Linear(I, O).to(layer.weight)
    linear.weight = nn.Parameter(layer.weight.detach().T.contiguous())
    linear.bias = layer.bias
    return linear


def _with_positions(module: nn.Module, args, kwargs):
    ids = kwargs["input_ids"]
    positions = torch.arange(ids.shape[1], device=ids.device).repeat(len(ids), 1)
    return args, {**kwargs, "position_ids": positions}


def _contiguous(layer: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (args[0].contiguous(),)
