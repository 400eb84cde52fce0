"""What a GPU has otherwise, as far as that shows without one."""

import copy
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from benchmarks.speed.cases import gpt2, next_tokens
from benchmarks.speed.operations import counted
from torch import nn
from zoo import ZOO

from fimetric.gradients import GradientNorms, columns, engine, kinds, probes, reader
from fimetric.gradients.axes.base import Use
from fimetric.gradients.axes.carry import RULES as AXES
from fimetric.gradients.columns import Columns
from fimetric.gradients.contributions import (
    Dense,
    Factors,
    Geometry,
    Patches,
    base,
    factors,
    gram,
)
from fimetric.gradients.contributions.pixels import norms_by_pixels
from fimetric.gradients.layout import Layout, Ragged
from fimetric.gradients.routing import STRUCTURAL
from fimetric.gradients.rules import RULES, Tapped
from fimetric.gradients.rules import tapped as tapped_module

# Waits for the device


def warm(module, losses):
    """Return norms after a plan was made and used."""
    norms = GradientNorms(module)
    for _ in range(2):
        norms(losses())
    return norms


def recorded(monkeypatch, module, name):
    """Return a list that the arguments of all calls of a function are added to."""
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *given: calls.append(given) or function(*given))
    return calls


def language_model(layers):
    module = gpt2(layers, width=128, heads=2, vocabulary=61, positions=16)
    x = torch.randint(61, (4, 16))
    return module, lambda: next_tokens(module)(x)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("checked", [False, True])
def test_a_call_waits_once_however_deep_the_model(layers, checked, monkeypatch):
    if checked:
        monkeypatch.setattr(kinds, "CERTAIN_USES", {1, 2})
    module, losses = language_model(layers)
    norms, ready = warm(module, losses), losses()
    forms = recorded(monkeypatch, factors, "norms_by_gram")
    checks = recorded(monkeypatch, engine, "still_agrees")
    found = counted(lambda: norms(ready))
    assert len(forms) >= 4 * layers  # each of which may have lost digits
    assert len(checks) == checked
    assert found.waits.total() == 1


def test_what_was_zero_is_looked_at_together():
    gradients = [torch.zeros(3, 2), None, torch.zeros(4), torch.zeros(())]
    for last, expected in [(0.0, False), (1.0, True), (torch.nan, True)]:
        given, found = [*gradients, torch.tensor([0.0, last])], []
        waits = counted(lambda: found.append(reader._any_is_not_zero(given))).waits  # noqa: B023
        assert (found, waits.total()) == ([expected], 1)
    assert not reader._any_is_not_zero([None])


def cancelling(size):
    """Factors of two positions that nearly cancel, after a first sample in which they do not."""
    u, v = torch.randn(3, 1, size).repeat(1, 2, 1), torch.randn(3, 1, size).repeat(1, 2, 1)
    u[1:, 1] *= -1
    v[1:, 1] += 1e-4 * torch.randn(2, size)
    return Factors(u, v)


def exact(contribution):
    return contribution.dense().double().flatten(1).square().sum(1)


@pytest.mark.parametrize(("held", "looks"), [(0, 4), (1 << 15, 2), (1 << 30, 1)])
def test_what_lost_its_digits_is_settled_whenever_it_is_looked_at(held, looks, monkeypatch):
    monkeypatch.setattr(columns, "budget", lambda device: held)
    parts = [cancelling(400) if j % 3 == 1 else Dense(torch.randn(3, 2000)) for j in range(12)]
    lost = parts[1].quick_norms().isnan()
    assert lost.tolist() == [False, True, True]
    table = Columns(torch.zeros(3, len(parts)))

    def fill():
        for j, part in enumerate(parts):
            table.take(j, part)
        return table.table()

    waits = counted(fill).waits
    expected = torch.stack([exact(part) for part in parts], 1)
    torch.testing.assert_close(table.table().double(), expected, rtol=1e-4, atol=0)
    assert waits["aten::_local_scalar_dense"] == looks + 4  # one for each column that lost some


def test_what_is_held_stays_within_the_budget(monkeypatch):
    part = Factors(torch.randn(2, 4, 300), torch.randn(2, 4, 200))
    monkeypatch.setattr(columns, "budget", lambda device: 3 * part.nbytes)
    table, held = Columns(torch.zeros(2, 20)), []
    for j in range(20):
        table.take(j, part)
        held.append(sum(each.nbytes for each in table._doubtful.values()))
    assert max(held) == 3 * part.nbytes
    torch.testing.assert_close(table.table().double(), exact(part)[:, None].expand(-1, 20))


def test_a_column_that_is_filled_twice_is_not_settled_by_what_was_first():
    table = Columns(torch.zeros(3, 1))
    table.take(0, cancelling(400))
    table.take(0, Dense(torch.full((3, 2000), torch.nan)))
    assert table.table().isnan().all()


# Forms


@pytest.mark.parametrize("block", [5, 64, 1024])
def test_blocks_of_any_size_give_the_same(block, monkeypatch):
    monkeypatch.setattr(gram, "BLOCK", block)
    for whole in (cancelling(400), Factors(torch.randn(3, 70, 40), torch.randn(3, 70, 50))):
        found = whole.settled(gram.norms_by_gram(whole, lambda chosen: [chosen]))
        torch.testing.assert_close(found.double(), exact(whole), rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_short_numbers_are_multiplied_as_they_are_where_a_device_can(kind, monkeypatch):
    """What such a device does, to the bit: products that float32 holds, added up in it."""
    factored = Factors(torch.randn(2, 70, 9).to(kind), torch.randn(2, 70, 8).to(kind))
    x, g = torch.randn(2, 1, 3, 6, 6).to(kind), torch.randn(2, 1, 4, 6, 6).to(kind)
    patches = Patches(x, g, torch.Size((4, 3, 3, 3)), Geometry((1, 1), (1, 1), (1, 1)))
    forms = {
        "written out": lambda: factored.dense(),
        "Gram": lambda: gram.norms_by_gram(factored, lambda chosen: [chosen]),
        "patches": patches.dense,
        "pixels": lambda: norms_by_pixels(patches),
        "unfolded": patches.quick_norms,
    }
    assert not base._adds_up_in_float32(torch.device("cpu"), kind)
    expected = {name: form() for name, form in forms.items()}
    multiplied, plain = [], torch.bmm

    def bmm(a, b, out_dtype=None):
        multiplied.append((a.dtype, b.dtype, out_dtype))
        return plain(a.to(out_dtype), b.to(out_dtype))

    monkeypatch.setattr(base, "_adds_up_in_float32", lambda *given: True)
    monkeypatch.setattr(base.torch, "bmm", bmm)
    for name, form in forms.items():
        assert torch.equal(form(), expected[name]), name
    assert set(multiplied) == {(kind, kind, torch.float32)}


def test_numbers_of_two_formats_are_widened(monkeypatch):
    monkeypatch.setattr(base, "_adds_up_in_float32", lambda *given: True)
    u, v = torch.randn(2, 3, 4), torch.randn(2, 3, 5).bfloat16()
    torch.testing.assert_close(
        Factors(u, v).dense(), torch.einsum("nto,nti->noi", u, v.float()), rtol=1e-5, atol=1e-6
    )


# Operations that only other devices have


def tapped(node, g, shape):
    layout = Layout(dim=0, outer=1, samples=len(g), inner=1)
    return Tapped(node, 1, (g, None, None), (layout, None, None), shape, len(g), {})


@pytest.mark.parametrize("name", ["CudnnBatchNormBackward0", "MiopenBatchNormBackward0"])
def test_batch_normalisation_of_other_libraries(name):
    norm = nn.BatchNorm2d(3, eps=1e-2).eval()
    norm(torch.randn(2, 3, 4, 4))
    nn.init.uniform_(norm.running_var)
    x, g = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    own = norm(x).grad_fn
    assert own.name() == "NativeBatchNormBackward0"
    other = SimpleNamespace(
        _saved_input=x,
        _saved_running_mean=norm.running_mean,
        _saved_running_var=norm.running_var,
        _saved_training=False,
        _saved_epsilon=1e-2,
    )
    expected = RULES[own.name()](tapped(own, g, norm.weight.shape))
    found = RULES[name](tapped(other, g, norm.weight.shape))
    assert torch.equal(found.dense(), expected.dense())
    assert torch.equal(found.scale(), expected.scale())


@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_root_mean_square_normalisation_in_one_operation(shape):
    x, g = torch.randn(5, 3, 6).double(), torch.randn(5, 3, 6).double()
    weight = torch.randn(shape).double().requires_grad_()
    dims = tuple(range(-len(shape), 0))
    scale = (x.square().mean(dims, keepdim=True) + 1e-5).rsqrt()
    node = SimpleNamespace(_saved_input=x, _saved_result1=scale)
    rule = RULES["FusedRmsNormBackward0"]
    found = rule(tapped(node, g, weight.shape)).dense()
    for n in range(5):
        y = F.rms_norm(x[n : n + 1], shape, weight, 1e-5)
        (want,) = torch.autograd.grad(y, weight, g[n : n + 1])
        torch.testing.assert_close(found[n], want)
    flat = SimpleNamespace(_saved_input=x, _saved_result1=scale.flatten())
    torch.testing.assert_close(rule(tapped(flat, g, weight.shape)).dense(), found)


@pytest.mark.parametrize(
    "name", ["CudnnBatchNorm", "CudnnRnn", "FusedRmsNorm", "MiopenBatchNorm", "ThnnFusedLstmCell"]
)
def test_they_move_no_samples(name):
    """Or colours would be read anew in every batch."""
    assert hasattr(torch._C._functions, f"{name}Backward0")
    assert f"{name}Backward0".startswith(STRUCTURAL)


@pytest.mark.parametrize(
    "name",
    [
        *("CudnnBatchNorm", "MiopenBatchNorm", "FusedRmsNorm", "ScaledDotProductCudnnAttention"),
        *("ScaledDotProductEfficientAttention", "ScaledDotProductFlashAttention"),
    ],
)
def test_their_rules_say_which_axis_holds_the_samples(name):
    """Or a first batch of every size would be read off its gradients."""
    assert hasattr(torch._C._functions, f"{name}Backward0")
    node = SimpleNamespace(_saved_training=False, _saved_normalized_shape=(6,))
    shape = torch.Size((5, 4, 3, 6))
    layout = Layout(dim=0, outer=1, samples=5, inner=1)
    assert AXES[f"{name}Backward0"](Use(node, 0, layout, shape, shape)) == layout


def test_a_called_operation_stays_in_the_stream_of_the_call(monkeypatch):
    """It is called from another thread, whose stream would not wait for its gradients."""
    streams, call = [], tapped_module._call

    def recorded(node, gradients, stream, group):
        streams.append(stream)
        return call(node, gradients, None, group)

    monkeypatch.setattr(tapped_module, "_call", recorded)
    monkeypatch.setattr(tapped_module, "_stream", lambda gradients: "own")
    weight, x = torch.rand(3, requires_grad=True), torch.rand(4, 3)
    GradientNorms([("weight", weight)])(torch.hypot(x, weight).sum(1))
    assert set(streams) == {"own"}


def test_a_cpu_has_no_streams():
    assert tapped_module._stream([None, torch.ones(2)]) is None


def test_rows_whose_samples_a_lookup_has_told():
    """Told on the CPU, wherever the rows are."""
    layout = Ragged(0, 2, torch.tensor([1, 0, -1, 1]))
    rows = torch.empty(4, 3, device="meta")
    assert layout.only(rows, 1).shape == rows.shape
    assert layout.split(rows).shape == (2, 2, 3)


# Where tensors are made


@pytest.mark.parametrize(
    "name",
    ["perceptron", "tied_weights", "parametrized_weights", "mixture_of_experts", "bilinear"],
)
def test_the_default_device_changes_nothing(name):
    """Who works on a GPU may have made it the default; the meta device holds no numbers at all."""
    expected, found = [], []
    for device, tables in (("cpu", expected), ("meta", found)):
        torch.manual_seed(0)
        module, batch, losses = ZOO[name]()
        ready, norms = [losses(batch), losses(batch)], GradientNorms(module)
        with torch.device(device):
            tables += [norms(each) for each in ready]
    torch.testing.assert_close(found, expected)


def test_nor_does_it_in_half_precision():
    layers = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).half()
    x, found = torch.randn(4, 6).half(), []
    for device in ("cpu", "meta"):
        module = copy.deepcopy(layers)
        losses = module(x).square().sum(1)
        with torch.device(device):
            found.append(GradientNorms(module)(losses))
    torch.testing.assert_close(*found)


def test_probes_go_back_together_as_far_as_memory_allows(monkeypatch):
    free = {"cuda": 160 << 30}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device.type], 1 << 40))
    assert probes.probe_bytes(torch.device("cuda")) == 10 << 30
    free["cuda"] = 1 << 30
    assert probes.probe_bytes(torch.device("cuda")) == 1 << 29
    assert probes.probe_bytes(torch.device("cpu")) == 1 << 29
