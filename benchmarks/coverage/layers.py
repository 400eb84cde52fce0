"""The layers of torch.nn that hold parameters."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from case import Batch, Case, I, Model, O, on_vectors, squares
from torch import Tensor, nn

T = 5  # positions


def _recurrent(kind: type[nn.RNNBase], **options: object) -> Model:
    """Return an RNN that is read out at all steps and at its final state."""
    module = kind(I, O, **options)
    batch_first = module.batch_first

    def losses(batch: Batch) -> Tensor:
        x = batch["x"] if batch_first else batch["x"].transpose(0, 1)
        output, state = module(x)
        last = state[0] if isinstance(state, tuple) else state
        output = output if batch_first else output.transpose(0, 1)
        return squares(output) + squares(last.transpose(0, 1))

    return Model(module, lambda n: {"x": torch.randn(n, T, I)}, losses)


def _packed() -> Model:
    """An LSTM on sequences of different lengths, packed."""
    module = nn.LSTM(I, O, batch_first=True)

    def losses(batch: Batch) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            batch["x"], batch["length"].cpu(), batch_first=True, enforce_sorted=False
        )
        output, _ = nn.utils.rnn.pad_packed_sequence(module(packed)[0], batch_first=True)
        return squares(output)

    return Model(
        module,
        lambda n: {"x": torch.randn(n, T, I), "length": torch.randint(1, T + 1, (n,))},
        losses,
    )


def _cell(kind: type[nn.RNNCellBase]) -> Model:
    module = kind(I, O)

    def losses(batch: Batch) -> Tensor:
        state = None
        for x in batch["x"].unbind(1):
            state = module(x, state)
        return squares(state[0] if isinstance(state, tuple) else state)

    return Model(module, lambda n: {"x": torch.randn(n, T, I)}, losses)


def _attention(batch_first: bool = True, **options: object) -> Model:
    module = nn.MultiheadAttention(8, 2, batch_first=batch_first, **options)
    other = 6 if "kdim" in options else 8

    def draw(n: int) -> Batch:
        return {"q": torch.randn(n, T, 8), "k": torch.randn(n, T + 1, other)}

    def losses(batch: Batch) -> Tensor:
        q, k = (batch[key] if batch_first else batch[key].transpose(0, 1) for key in "qk")
        y = module(q, k, k, need_weights=False)[0]
        return squares(y if batch_first else y.transpose(0, 1))

    return Model(module, draw, losses)


def _transformer(module: nn.Module, batch_first: bool, inputs: int = 1) -> Model:
    module = module.eval()

    def draw(n: int) -> Batch:
        return {key: torch.randn(n, T, 8) for key in ("x", "y")[:inputs]}

    def losses(batch: Batch) -> Tensor:
        y = module(*(v if batch_first else v.transpose(0, 1) for v in batch.values()))
        return squares(y if batch_first else y.transpose(0, 1))

    return Model(module, draw, losses)


def _layer(kind: str, batch_first: bool, norm_first: bool = False) -> Model:
    made = getattr(nn, kind)(8, 2, 12, batch_first=batch_first, norm_first=norm_first)
    return _transformer(made, batch_first, inputs=2 if "Decoder" in kind else 1)


def _whole_transformer(batch_first: bool) -> Model:
    made = nn.Transformer(8, 2, 1, 1, 12, batch_first=batch_first)
    return _transformer(made, batch_first, inputs=2)


def _encoder() -> Model:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    return _transformer(nn.TransformerEncoder(layer, 2), batch_first=True)


def _bag(mode: str, offsets: bool = False, weighted: bool = False) -> Model:
    module = nn.EmbeddingBag(11, O, mode=mode)

    def losses(batch: Batch) -> Tensor:
        rows, weights = batch["rows"], batch["weights"] if weighted else None
        if not offsets:
            return squares(module(rows, per_sample_weights=weights))
        starts = torch.arange(0, rows.numel(), T)
        return squares(module(rows.flatten(), starts))

    def draw(n: int) -> Batch:
        return {"rows": torch.randint(11, (n, T)), "weights": torch.randn(n, T)}

    return Model(module, draw, losses)


def _embedding(**options: object) -> Model:
    module = nn.Sequential(nn.Embedding(11, O, **options), nn.Tanh(), nn.Linear(O, 2))
    return Model(
        module,
        lambda n: {"rows": torch.randint(11, (n, T))},
        lambda b: squares(module(b["rows"])),
    )


def _bilinear() -> Model:
    module = nn.Bilinear(3, 2, O)
    return on_vectors(module, 5, output=lambda x: module(x[:, :3], x[:, 3:]))


def _adaptive_softmax() -> Model:
    module = nn.AdaptiveLogSoftmaxWithLoss(I, 12, [3, 7])
    return Model(
        module,
        lambda n: {"x": torch.randn(n, I), "y": torch.randint(12, (n,))},
        lambda b: -module(b["x"], b["y"])[0],
    )


def _ctc() -> Model:
    module = nn.Linear(I, 5)

    def losses(batch: Batch) -> Tensor:
        y = module(batch["x"]).log_softmax(2).transpose(0, 1)
        n = y.shape[1]
        lengths = torch.full((n,), T), torch.full((n,), 2)
        return F.ctc_loss(y, batch["y"], *lengths, reduction="none")

    def draw(n: int) -> Batch:
        return {"x": torch.randn(n, T, I), "y": torch.randint(1, 5, (n, 2))}

    return Model(module, draw, losses)


def _after(first: nn.Module, *shape: int) -> Model:
    """Put a nonlinearity after the layer, and evaluate it."""
    return on_vectors(nn.Sequential(first, nn.Tanh()).eval(), *shape)


def _lazy() -> Model:
    module = nn.Sequential(
        nn.LazyConv2d(4, 3),
        nn.LazyBatchNorm2d(),
        nn.LazyConvTranspose2d(3, 2),
        nn.Flatten(),
        nn.LazyLinear(O),
    )
    module(torch.randn(2, 2, 6, 6))
    return on_vectors(module.eval(), 2, 6, 6)


class _Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).transpose(-1, -2)


def _parametrized(name: str) -> Model:
    of = nn.utils.parametrizations
    if name == "symmetric":
        linear = nn.Linear(I, I)
        nn.utils.parametrize.register_parametrization(linear, "weight", _Symmetric())
    elif name == "orthogonal":
        linear = of.orthogonal(nn.Linear(I, I))
    elif name == "hook":
        linear = nn.utils.weight_norm(nn.Linear(I, I))
    else:
        linear = getattr(of, name)(nn.Linear(I, I))
    return _after(linear, I)


RECURRENT: dict[str, Callable[[], Model]] = {
    "RNN": lambda: _recurrent(nn.RNN),
    "RNN, relu": lambda: _recurrent(nn.RNN, nonlinearity="relu", batch_first=True),
    "RNN, bidirectional": lambda: _recurrent(nn.RNN, bidirectional=True),
    "LSTM": lambda: _recurrent(nn.LSTM),
    "LSTM, batch first": lambda: _recurrent(nn.LSTM, batch_first=True),
    "LSTM, two layers": lambda: _recurrent(nn.LSTM, num_layers=2),
    "LSTM, bidirectional": lambda: _recurrent(nn.LSTM, bidirectional=True, batch_first=True),
    "LSTM, float32 kernel": lambda: _recurrent(nn.LSTM)._replace(precise=False),
    "LSTM, float32 kernel, bidirectional": lambda: _recurrent(
        nn.LSTM, num_layers=2, bidirectional=True, batch_first=True
    )._replace(precise=False),
    "LSTM, projected": lambda: _recurrent(nn.LSTM, proj_size=2),
    "LSTM, projected, bidirectional": lambda: _recurrent(
        nn.LSTM, proj_size=2, bidirectional=True, num_layers=2
    ),
    "LSTM, no bias": lambda: _recurrent(nn.LSTM, bias=False),
    "LSTM, packed": _packed,
    "GRU": lambda: _recurrent(nn.GRU),
    "GRU, bidirectional": lambda: _recurrent(nn.GRU, bidirectional=True, num_layers=2),
    "RNNCell": lambda: _cell(nn.RNNCell),
    "LSTMCell": lambda: _cell(nn.LSTMCell),
    "GRUCell": lambda: _cell(nn.GRUCell),
}

ATTENTION: dict[str, Callable[[], Model]] = {
    "MultiheadAttention": _attention,
    "MultiheadAttention, time first": lambda: _attention(batch_first=False),
    "MultiheadAttention, other widths": lambda: _attention(kdim=6, vdim=6),
    "MultiheadAttention, bias_kv": lambda: _attention(add_bias_kv=True, add_zero_attn=True),
    "TransformerEncoderLayer": lambda: _layer("TransformerEncoderLayer", True),
    "TransformerEncoderLayer, time first": lambda: _layer("TransformerEncoderLayer", False),
    "TransformerEncoderLayer, norm first": lambda: _layer("TransformerEncoderLayer", True, True),
    "TransformerDecoderLayer": lambda: _layer("TransformerDecoderLayer", True),
    "TransformerDecoderLayer, time first": lambda: _layer("TransformerDecoderLayer", False),
    "TransformerEncoder": _encoder,
    "Transformer": lambda: _whole_transformer(True),
    "Transformer, time first": lambda: _whole_transformer(False),
}

LOOKUPS: dict[str, Callable[[], Model]] = {
    "Embedding": _embedding,
    "Embedding, padding": lambda: _embedding(padding_idx=0),
    "Embedding, sparse": lambda: _embedding(sparse=True),
    "EmbeddingBag, sum": lambda: _bag("sum"),
    "EmbeddingBag, mean": lambda: _bag("mean"),
    "EmbeddingBag, max": lambda: _bag("max"),
    "EmbeddingBag, offsets": lambda: _bag("sum", offsets=True),
    "EmbeddingBag, weighted": lambda: _bag("sum", weighted=True),
    "AdaptiveLogSoftmaxWithLoss": _adaptive_softmax,
    "Linear with CTC loss": _ctc,
}

PLAIN: dict[str, Callable[[], Model]] = {
    "Linear": lambda: _after(nn.Linear(I, O), I),
    "Linear on rows": lambda: _after(nn.Linear(I, O), T, I),
    "Bilinear": _bilinear,
    "PReLU": lambda: _after(nn.PReLU(), I),
    "PReLU, channels": lambda: _after(nn.PReLU(3), 3, T),
    "Conv1d": lambda: _after(nn.Conv1d(3, O, 3, stride=2), 3, 9),
    "Conv2d": lambda: _after(nn.Conv2d(3, O, 3, padding=1), 3, 6, 6),
    "Conv2d, grouped": lambda: _after(nn.Conv2d(4, 4, 3, groups=2, dilation=2), 4, 6, 6),
    "Conv2d, depthwise": lambda: _after(nn.Conv2d(4, 8, 3, groups=4), 4, 6, 6),
    "Conv2d, circular": lambda: _after(
        nn.Conv2d(3, O, 3, padding=1, padding_mode="circular"), 3, 6, 6
    ),
    "Conv3d": lambda: _after(nn.Conv3d(2, O, 2), 2, 4, 4, 4),
    "ConvTranspose1d": lambda: _after(nn.ConvTranspose1d(3, O, 3), 3, 5),
    "ConvTranspose2d": lambda: _after(
        nn.ConvTranspose2d(4, 4, 3, stride=2, groups=2, output_padding=1), 4, 4, 4
    ),
    "ConvTranspose3d": lambda: _after(nn.ConvTranspose3d(2, O, 2), 2, 3, 3, 3),
    "BatchNorm1d, eval": lambda: _after(nn.BatchNorm1d(I), I),
    "BatchNorm2d, eval": lambda: _after(nn.BatchNorm2d(3), 3, 4, 4),
    "GroupNorm": lambda: _after(nn.GroupNorm(2, 4), 4, T),
    "InstanceNorm2d": lambda: _after(nn.InstanceNorm2d(3, affine=True), 3, 4, 4),
    "LayerNorm": lambda: _after(nn.LayerNorm([T, I]), T, I),
    "RMSNorm": lambda: _after(nn.RMSNorm(I), T, I),
    "lazy modules": _lazy,
    "weight_norm": lambda: _parametrized("weight_norm"),
    "weight_norm by a hook": lambda: _parametrized("hook"),
    "spectral_norm": lambda: _parametrized("spectral_norm"),
    "orthogonal": lambda: _parametrized("orthogonal"),
    "a parametrization of one's own": lambda: _parametrized("symmetric"),
}


def cases() -> list[Case]:
    made = {**RECURRENT, **ATTENTION, **LOOKUPS, **PLAIN}
    return [Case("torch.nn", name, make) for name, make in made.items()]
