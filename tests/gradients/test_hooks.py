"""Hooks on gradients: a parameter's own are applied, others that change anything refused."""

import pytest
import torch
from torch import nn

from fimetric.gradients import GradientNorms

N = 6


class Net(nn.Module):
    """Two layers with a masked and tied weight; ``touch`` sees each tensor that has a name."""

    def __init__(self, touch=lambda name, tensor: None) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 4), nn.Linear(4, 5)
        self.scale = nn.Parameter(torch.randn(4))
        self.touch = touch

    def forward(self, x):
        derived = self.scale.exp()
        hidden = self.a(x)
        out = self.b(hidden.tanh() * derived) + hidden @ self.b.weight.T
        losses = (out - x).square().sum(1)
        for name, tensor in [("derived", derived), ("hidden", hidden), ("losses", losses)]:
            self.touch(name, tensor)
        return losses


def net(touch=lambda name, tensor: None, seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net(touch).double()


X = torch.randn(N, 5, generator=torch.Generator().manual_seed(1)).double()


def one_by_one(model, x=X):
    rows = [
        torch.autograd.grad(model(x[n : n + 1]).sum(), list(model.parameters()))
        for n in range(len(x))
    ]
    return [torch.stack(column) for column in zip(*rows, strict=True)]


def squares(gradients):
    return torch.stack([g.flatten(1).square().sum(1) for g in gradients], 1)


def scaled_in_place(g):
    g *= 3


ON_PARAMETERS = {
    "mask": lambda g: g * (torch.arange(g.shape[-1]) % 2),
    "scale": lambda g: g * 0.1,
    "larger": lambda g: g * 1e8,
    "in place": scaled_in_place,
    "clip": lambda g: g.clamp(-0.3, 0.3),
    "clip by norm": lambda g: g / g.norm().clamp_min(1.0),
    "offset": lambda g: g + 1,
    "watch": lambda g: None,
}


@pytest.mark.parametrize("parameter", ["a.weight", "b.weight", "scale"])
@pytest.mark.parametrize("kind", ON_PARAMETERS)
def test_hooks_of_a_parameter_are_applied_to_each_sample(parameter, kind):
    model = net()
    norms = GradientNorms(model)
    plain = norms(model(X))  # the plan is kept
    handle = dict(model.named_parameters())[parameter].register_hook(ON_PARAMETERS[kind])
    expected = one_by_one(model)
    for reader in (norms, GradientNorms(model)):
        for _ in range(2):
            torch.testing.assert_close(reader(model(X)), squares(expected), rtol=1e-9, atol=0)
            torch.testing.assert_close(reader(model(X[:1])), squares(expected)[:1])
    for (_, found), g in zip(norms.contributions(model(X)), expected, strict=True):
        torch.testing.assert_close(found.dense(), g)
    for found, g in zip(norms.gram(model(X)), expected, strict=True):
        torch.testing.assert_close(found, g.flatten(1) @ g.flatten(1).T)
    handle.remove()
    assert torch.equal(norms(model(X)), plain)


def test_several_hooks_act_in_their_order():
    model = net()
    for hook in (lambda g: g.clamp(-0.3, 0.3), lambda g: 2 * g, lambda g: None):
        model.a.weight.register_hook(hook)
    torch.testing.assert_close(GradientNorms(model)(model(X)), squares(one_by_one(model)))


def test_hooks_of_a_half_precision_parameter_get_its_number_format():
    model, kinds = nn.Linear(5, 4).bfloat16(), set()
    model.weight.register_hook(lambda g: kinds.add(g.dtype))
    GradientNorms(model)(model(X.bfloat16()).float().square().sum(1))
    assert kinds == {torch.bfloat16}


def test_a_hook_that_fails_is_named():
    model = net()
    model.a.weight.register_hook(lambda g: g @ g)
    with pytest.raises(RuntimeError, match=r"on 'a.weight' \(.*lambda.*fails.*handle.remove"):
        GradientNorms(model)(model(X))


def test_hooks_after_accumulation_are_refused_by_name():
    model = net()
    norms = GradientNorms(model)
    norms(model(X))
    handle = model.b.bias.register_post_accumulate_grad_hook(lambda p: None)
    for read in (
        norms,
        norms.measure,
        norms.gram,
        lambda losses: list(norms.contributions(losses)),
    ):
        with pytest.raises(RuntimeError, match=r"'b.bias' has a hook of register_post_accum"):
            read(model(X))
    handle.remove()
    norms(model(X))


def tensor_hook(on, change):
    return lambda name, tensor: tensor.register_hook(change) if name == on else None


CHANGES = {
    "reversed": lambda g: -g,
    "clipped": lambda g: g.clamp(-0.03, 0.03),
    "scaled": lambda g: g * 1.001,
    "in place": scaled_in_place,
    "normalised": lambda g: 2 * g / g.norm(),
    "masked": lambda g: g * 0,
}
TOUCHES = {
    f"{on} {kind}": tensor_hook(on, change)
    for on in ("derived", "hidden", "losses")
    for kind, change in CHANGES.items()
}
TOUCHES["operation, after"] = lambda name, tensor: (
    tensor.grad_fn.register_hook(lambda gi, go: tuple(g if g is None else 2 * g for g in gi))
    if name == "hidden"
    else None
)
TOUCHES["operation, before"] = lambda name, tensor: (
    tensor.grad_fn.register_prehook(lambda go: (2 * go[0],)) if name == "hidden" else None
)


@pytest.mark.parametrize("n", [1, N])
@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_hooks_that_change_gradients_above_the_parameters_are_refused(touch, n):
    model = net()
    norms = GradientNorms(model)
    expected = norms(model(X[:n]))
    model.touch = touch
    for reader in (norms, GradientNorms(model)):
        for read in (reader, reader.measure, reader.gram):
            with pytest.raises(
                RuntimeError, match=r"hook changes the gradient at .*Backward.*remove"
            ):
                read(model(X[:n]))
    model.touch = lambda name, tensor: None
    assert torch.equal(norms(model(X[:n])), expected)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("layer", ["a", "b", ""])
def test_hooks_of_modules_are_refused_where_they_change_gradients(layer):
    model = net()
    x = X.clone().requires_grad_()
    hooked = model.get_submodule(layer)
    expected, seen = squares(one_by_one(model)), []
    handle = hooked.register_full_backward_hook(lambda module, gi, go: (-gi[0],))
    if layer == "b":
        with pytest.raises(RuntimeError, match=r"hook changes the gradient at .*backward hook"):
            GradientNorms(model)(model(x))
    else:  # it changes the gradient of x, and no parameter's
        torch.testing.assert_close(GradientNorms(model)(model(x)), expected)
    handle.remove()
    handle = hooked.register_full_backward_pre_hook(lambda module, go: (2 * go[0],))
    with pytest.raises(RuntimeError, match=r"hook changes the gradient at .*a module's backward"):
        GradientNorms(model)(model(x))
    handle.remove()
    hooked.register_full_backward_hook(lambda module, gi, go: seen.append(len(go)))
    torch.testing.assert_close(GradientNorms(model)(model(x)), expected)
    assert seen or layer != "b"  # the gradient of x is not needed


def test_a_clip_that_acts_in_a_later_batch_only_is_refused_there():
    model = net(tensor_hook("hidden", lambda g: g / (g.norm() / 1e5).clamp_min(1.0)))
    norms = GradientNorms(model)
    for _ in range(3):
        torch.testing.assert_close(norms(model(X)), squares(one_by_one(model)))
    with pytest.raises(RuntimeError, match="hook changes the gradient at AddmmBackward0"):
        norms(model(1e5 * X))


@pytest.mark.parametrize("on", ["derived", "hidden", "losses"])
def test_hooks_that_only_look_change_nothing(on):
    seen = []
    model = net(tensor_hook(on, lambda g: seen.append(g.shape)))
    expected = squares(one_by_one(model))
    model.a.weight.register_hook(lambda g: seen.append(g.shape))
    norms = GradientNorms(model)
    for _ in range(2):
        torch.testing.assert_close(norms(model(X)), expected)
    assert seen


def test_gradients_are_watched_only_after_a_hook_was_registered(monkeypatch):
    models, watched = (net(), net(seed=1)), []
    readers = [GradientNorms(model) for model in models]
    monkeypatch.setattr("fimetric.gradients.engine.refuse_changing", lambda *_: watched.append(1))

    def read():
        watched.clear()
        for reader, model in zip(readers, models, strict=True):
            reader(model(X))
        return len(watched)

    read()  # other tests have registered hooks
    assert [read(), read()] == [0, 0]
    models[0].a.weight.register_hook(lambda g: None)
    assert [read(), read()] == [2, 0]
