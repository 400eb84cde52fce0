"""Fused and unfused recurrent layers, against the loop."""

from types import SimpleNamespace

import pytest
import torch
from against_loop import assert_equals_the_loop, no_calls, table_by_loop
from torch import nn

from fimetric.gradients import GradientNorms, colouring, engine
from fimetric.gradients.contributions import squared_norms
from fimetric.gradients.layout import Colours, Layout, Ragged
from fimetric.gradients.reference import gradients_one_by_one
from fimetric.gradients.rules import RULES
from fimetric.gradients.rules.recurrent import lstm_layer
from fimetric.gradients.rules.tapped import Tapped

N, T, I, H = 4, 5, 3, 4  # as many samples as units


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def read_out(y, state):
    """Losses (N,) of outputs (T, N, .) and last states (layers, N, .)."""
    return y.pow(3).sum((0, 2)) + sum(s.exp().sum((0, 2)) for s in state)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bias": False},
        {"bidirectional": True},
        {"num_layers": 3},
        {"num_layers": 2, "bidirectional": True, "bias": False},
    ],
    ids=str,
)
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="no fused kernel here")
def test_fused_lstm(options, monkeypatch):
    """oneDNN's kernel computes in float32; the loop runs the same weights in float64."""
    no_calls(monkeypatch)
    taps = []
    rule = lambda tap: taps.append(tap) or lstm_layer(tap)  # noqa: E731
    monkeypatch.setitem(RULES, "MkldnnRnnLayerBackward0", rule)
    module = nn.LSTM(I, H, **options)
    wide = nn.LSTM(I, H, **options).double()
    wide.load_state_dict(module.state_dict())
    norms = GradientNorms(module)
    for _ in range(3):
        x = torch.randn(T, N, I)
        expected = table_by_loop(read_out(*wide(x.double())), list(wide.parameters()))
        found = norms(read_out(*module(x)))
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=0)
    assert taps


LOSSES = {
    "outputs": lambda y, h, c: y.pow(3).sum((0, 2)),
    "last state": lambda y, h, c: h.pow(3).sum(1),
    "last cell": lambda y, h, c: c.pow(3).sum(1),
    "all": lambda y, h, c: y.pow(3).sum((0, 2)) + h.exp().sum(1) + c.exp().sum(1),
}


@pytest.mark.parametrize("used", LOSSES)
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(T, N), (1, N), (T, 1), (1, 1)])
def test_rule_in_float64(used, reverse, bias, shape):
    """What a fused node saves, with the steps of PyTorch's own cell in float64."""
    steps, samples = shape
    cell = nn.LSTMCell(I, H, bias=bias, dtype=torch.float64)
    x, h0, c0 = (torch.randn(*s, dtype=torch.float64) for s in ((*shape, I), *[(samples, H)] * 2))
    h, c, outputs = h0, c0, [None] * steps
    for t in reversed(range(steps)) if reverse else range(steps):
        h, c = cell(x[t], (h, c))
        outputs[t] = h
    results = torch.stack(outputs), h * 1, c * 1
    losses = LOSSES[used](*results)
    gradients = torch.autograd.grad(losses.sum(), results, retain_graph=True, allow_unused=True)
    weights = list(cell.parameters())
    saved = {f"weight{k}": weights[k % len(weights)].detach() for k in range(4)}
    saved |= {"input": x, "hx_": h0, "cx_": c0, "result0": results[0].detach(), "mode": 2}
    saved |= {"reverse": reverse, "has_biases": bias}
    node = SimpleNamespace(**{f"_saved_{name}": value for name, value in saved.items()})
    layouts = tuple(Layout(dim, 1, samples, 1) for dim in (1, 0, 0))
    scratch = {}
    for k, expected in enumerate(gradients_one_by_one(losses, weights), 1):
        tap = Tapped(node, k, gradients, layouts, weights[k - 1].shape, samples, scratch)
        found = lstm_layer(tap)
        torch.testing.assert_close(found.dense(), expected, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(found.squared_norms(), squared_norms(expected))


def test_states_given_by_parameters_and_layers_below(monkeypatch):
    """A learned first state, a layer below, and one layer used twice."""
    no_calls(monkeypatch)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.lstm = nn.Linear(I, H), nn.LSTM(H, H)
            self.state = nn.Parameter(torch.randn(2, 1, 1, H))

        def forward(self, x):
            first = tuple(self.state.expand(-1, -1, x.shape[1], -1).contiguous())
            y, last = self.lstm(self.below(x), first)
            return read_out(*self.lstm(y, last))

    module, x = Model(), torch.randn(T, N, I)
    wide = Model().double()
    wide.load_state_dict(module.state_dict())
    expected = table_by_loop(wide(x.double()), list(wide.parameters()))
    norms = GradientNorms(module)
    for _ in range(2):
        torch.testing.assert_close(norms(module(x)).double(), expected, rtol=1e-4, atol=0)


def test_several_sequences_to_a_sample(monkeypatch):
    no_calls(monkeypatch)
    module = nn.LSTM(I, H, batch_first=True)

    def apart(x):  # the sequences of a sample lie N apart
        return module(x)[0].pow(3).sum((1, 2)).view(2, N).sum(0)

    def together(x):
        return module(x)[1][0].pow(3).sum((0, 2)).view(N, 2).sum(1)

    for losses in (apart, together):
        batches = [torch.randn(2 * N, T, I) for _ in range(2)]
        assert_equals_the_loop(module, losses, batches, rtol=1e-4)


def test_outputs_of_some_samples_and_states_of_others():
    module = nn.LSTM(I, H)
    samples = torch.arange(N)

    def losses(x):
        y, (h, c) = module(x)
        some = torch.where(samples < 2, y.pow(3).sum((0, 2)), 0.0)
        return some + torch.where(samples < 2, 0.0, h.sum((0, 2)) + c.pow(3).sum((0, 2)))

    assert_equals_the_loop(module, losses, [torch.randn(T, N, I) for _ in range(2)], rtol=1e-4)


ROWS = torch.arange(N)


@pytest.mark.parametrize(
    "layouts",
    [
        (Layout(1, 1, N, 1), Layout(0, 2, N // 2, 1)),
        (Layout(1, 1, N, 1), Ragged(0, N, ROWS)),
        (Ragged(1, N, ROWS), Ragged(0, N, ROWS.flip(0))),
        (Layout(0, 1, T, 1), Layout(0, 1, N, 1)),
        (Colours(ROWS.view(1, N, 1).expand(T, N, H)), Layout(0, 1, N, 1)),
    ],
)
def test_no_rule_where_outputs_disagree_about_their_samples(layouts):
    gradients = torch.ones(T, N, H), torch.ones(N, H), None
    assert lstm_layer(Tapped(None, 1, gradients, (*layouts, None), (4 * H, I), N, {})) is None


def packed_losses(module, padded):
    """Losses (N,) of a batch (x, lengths), by all outputs and the last states."""

    def losses(batch):
        rows = nn.utils.rnn.pack_padded_sequence(*batch, batch_first=True, enforce_sorted=False)
        rows, state = module(rows)
        last = (state[0] if isinstance(state, tuple) else state).exp().sum((0, 2))
        if padded:
            y, _ = nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)
            return last + y.pow(3).sum((1, 2))
        return last + torch.stack([y.pow(3).sum() for y in nn.utils.rnn.unpack_sequence(rows)])

    return losses


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("padded", [False, True])
def test_packed_sequences(kind, padded, monkeypatch):
    """The rows of a step are those of the samples that go on, in an order by their lengths."""
    no_calls(monkeypatch)
    made, make_plan = [], engine.make_plan
    counted = lambda *given, **named: made.append(1) or make_plan(*given, **named)  # noqa: E731
    monkeypatch.setattr(engine, "make_plan", counted)
    module = kind(I, H, num_layers=2, bidirectional=True, batch_first=True).double()
    losses, norms = packed_losses(module, padded), GradientNorms(module)
    lengths = torch.tensor([2, 5, 1, 3])
    for order in (lengths, lengths, lengths, lengths.flip(0), lengths.roll(1)):
        batch = torch.randn(N, T, I, dtype=torch.float64), order
        expected = table_by_loop(losses(batch), list(module.parameters()))
        torch.testing.assert_close(norms(losses(batch)), expected, rtol=1e-9, atol=0)
    if padded:  # one graph for all, and a new plan where other samples are in its rows
        assert len(made) == 3


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_other_lengths_are_not_looked_at_again(kind, monkeypatch):
    """Whose rows are whose follows from the lengths, where at each step another sequence ends."""
    no_calls(monkeypatch)
    below, rnn = nn.Linear(I, I).double(), kind(I, H, batch_first=True).double()
    packed, probes = packed_losses(rnn, padded=True), []
    module, probe = nn.ModuleList([below, rnn]), colouring.weighted_gradients
    losses = lambda x, lengths: packed((below(x), lengths))  # noqa: E731
    norms = GradientNorms(module)
    for _ in range(6):
        lengths = torch.cat([torch.arange(1, T + 1), torch.randint(1, T + 1, (4,))])
        x, lengths = torch.randn(9, T, I, dtype=torch.float64), lengths[torch.randperm(9)]
        expected = table_by_loop(losses(x, lengths), list(module.parameters()))
        torch.testing.assert_close(norms(losses(x, lengths)), expected, rtol=1e-9, atol=0)
        monkeypatch.setattr(
            colouring, "weighted_gradients", lambda *given: probes.append(1) or probe(*given)
        )
    assert not probes
