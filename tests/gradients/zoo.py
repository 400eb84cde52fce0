"""Awkward models: name -> a function that returns (module, batch, batch -> (N,) losses)."""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N = 5
ZOO = {}


def case(function):
    ZOO[function.__name__] = function
    return function


def squares(module):
    return lambda x: module(x).flatten(1).square().sum(1)


@case
def perceptron():
    module = nn.Sequential(nn.Linear(7, 6), nn.Tanh(), nn.Linear(6, 3))
    return module, torch.randn(N, 7), squares(module)


@case
def batch_size_equals_feature_sizes():
    module = nn.Sequential(nn.Linear(N, N), nn.Tanh(), nn.LayerNorm(N), nn.Linear(N, N, bias=False))
    return module, torch.randn(N, N), squares(module)


@case
def transposed_by_hand():
    module = nn.Linear(4, 3)

    def losses(x):
        w = module.weight
        return ((x @ w.T).tanh() @ w.permute(0, 1) + x @ w.mT.mT.permute(1, 0) @ w).square().sum(1)

    return module, torch.randn(N, 4), losses


@case
def two_samples():
    module = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 2))
    return module, torch.randn(2, 4), squares(module)


@case
def convolutions_2d():
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1),
        nn.GroupNorm(2, 6),
        nn.SiLU(),
        nn.Conv2d(6, 4, (3, 2), stride=(2, 1), groups=2, dilation=2),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1),
        nn.Conv2d(6, 6, 3, groups=6, padding="same", padding_mode="circular"),
        nn.BatchNorm2d(6),
    ).eval()
    return module, torch.randn(N, 4, 9, 9), squares(module)


@case
def many_channels_on_few_pixels():
    module = nn.Sequential(nn.Conv2d(24, 40, 3, padding=1), nn.Tanh(), nn.Conv2d(40, 24, 2))
    return module, torch.randn(N, 24, 2, 2), squares(module)


@case
def wide_layer_on_few_rows():
    module = nn.Linear(40, 60)
    return module, torch.randn(N, 3, 40), squares(module)


@case
def convolutions_1d_3d():
    one = nn.Sequential(nn.Conv1d(3, 4, 3, stride=2), nn.ConvTranspose1d(4, 6, 3, groups=2))
    three = nn.Conv3d(2, 3, 2, dilation=2)
    module = nn.ModuleList([one, three])
    return (
        module,
        torch.randn(N, 96),
        lambda x: (
            squares(one)(x[:, :30].view(-1, 3, 10))
            + squares(three)(x[:, :54].reshape(-1, 2, 3, 3, 3))
        ),
    )


@case
def norms():
    module = nn.Sequential(
        nn.LayerNorm([3, 8]), nn.RMSNorm(8), nn.BatchNorm1d(3), nn.InstanceNorm1d(3, affine=True)
    )
    return module.eval(), torch.randn(N, 3, 8), squares(module)


@case
def normalised_and_only_summed():
    """The gradients that arrive are expanded ones, without strides of their own."""
    module = nn.ModuleList(
        [nn.GroupNorm(2, 4), nn.BatchNorm1d(4), nn.LayerNorm(6), nn.Conv1d(4, 4, 3)]
    ).eval()
    weights = torch.rand(4, 1) + 0.5
    return (
        module,
        torch.randn(N, 4, 6),
        lambda x: sum(
            (layer(x) * weights).sum((1, 2)) + layer(x.exp()).sum((1, 2)) for layer in module
        ),
    )


@case
def rows_folded_sample_first():
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    return (
        module,
        torch.randn(N, 6, 4),
        lambda x: module(x.reshape(-1, 4)).view(-1, 6, 3).pow(3).sum((1, 2)),
    )


@case
def rows_folded_time_first():
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    return (
        module,
        torch.randn(N, 6, 4),
        lambda x: module(x.transpose(0, 1).reshape(-1, 4)).view(6, -1, 3).pow(3).sum((0, 2)),
    )


@case
def samples_in_columns():
    weight = nn.Parameter(torch.randn(3, 4))
    module = nn.ParameterDict({"weight": weight})
    return module, torch.randn(N, 4), lambda x: (weight @ x.T).square().sum(0)


@case
def tied_weights():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(11, 6), nn.Embedding(N, 6)
            self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, 11, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, tokens: Tensor) -> Tensor:
            places = self.places(torch.arange(tokens.shape[1]).unsqueeze(0))
            logits = self.head(torch.tanh(self.hidden(self.tokens(tokens) + places)))
            return F.cross_entropy(
                logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none"
            ).sum(1)

    module = Tied()
    return module, torch.randint(11, (N, N)), module


@case
def lstm_bidirectional():
    module = nn.LSTM(3, 4, batch_first=True, bidirectional=True, num_layers=2)
    return module, torch.randn(N, 6, 3), lambda x: module(x)[0].square().sum((1, 2))


@case
def gru_time_first():
    module = nn.GRU(3, 4)
    return (
        module,
        torch.randn(N, 6, 3),
        lambda x: module(x.transpose(0, 1))[0].square().sum((0, 2)),
    )


@case
def packed_sequences():
    """Sequences of unlike lengths, above a layer and one after another in one tensor."""
    module = nn.ModuleDict({"below": nn.Linear(3, 3), "gru": nn.GRU(3, 4, batch_first=True)})

    def losses(x):
        lengths = 1 + (100 * x[:, 0, 0].abs()).long() % 6
        rows = nn.utils.rnn.pack_padded_sequence(
            module["below"](x), lengths, batch_first=True, enforce_sorted=False
        )
        rows, state = module["gru"](rows)
        y, _ = nn.utils.rnn.pad_packed_sequence(rows, batch_first=True)
        return y.square().sum((1, 2)) + state.sum((0, 2))

    return module, torch.randn(N, 6, 3), losses


@case
def pieces_of_ragged_rows():
    """Rows of the samples one after another, cut where the batch has its middle."""
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))

    def losses(x):
        counts = 1 + (100 * x[:, 0, 0].abs()).long() % 6
        rows = torch.cat([sample[:count] for sample, count in zip(x, counts, strict=True)])
        h = module(rows)
        first, last = h[: len(h) // 2], h[len(h) // 2 :]
        joined = torch.cat([first, last]) + torch.cat([first.sin(), h[:0], last.sin()])
        owner = torch.arange(len(x)).repeat_interleave(counts)
        return joined.new_zeros(len(x)).index_add(0, owner, joined.square().sum(1))

    return module, torch.randn(N, 6, 3), losses


@case
def transformer_time_first():
    module = nn.TransformerEncoderLayer(8, 2, 16).eval()
    module.self_attn.batch_first = False
    return (
        module,
        torch.randn(N, 6, 8),
        lambda x: module(x.transpose(0, 1)).pow(3).sum((0, 2)),
    )


@case
def attention():
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    return module, torch.randn(N, 4, 8), lambda x: module(x, x, x)[0].pow(2).sum((1, 2))


@case
def parametrized_weights():
    weight_norm = nn.utils.parametrizations.weight_norm
    spectral_norm = nn.utils.parametrizations.spectral_norm
    module = nn.Sequential(
        weight_norm(nn.Conv2d(2, 4, 3)), nn.Tanh(), nn.Flatten(), spectral_norm(nn.Linear(36, 3))
    ).eval()
    return module, torch.randn(N, 2, 5, 5), squares(module)


@case
def masked_and_scaled_weights():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.log_scale = (
                nn.Parameter(torch.randn(N, N)),
                nn.Parameter(torch.zeros(())),
            )
            self.register_buffer("mask", torch.tril(torch.ones(N, N)))

        def forward(self, x: Tensor) -> Tensor:
            lower = self.mask * self.weight
            h = F.linear(x, lower) + F.linear(x.square(), lower.T)
            return (
                h.square().sum(1) * self.log_scale.exp()
                - self.weight.diagonal().square().log().sum()
            )

    module = Masked()
    return module, torch.randn(N, N), module


@case
def learned_prior_and_elementwise_parameters():
    class Affine(nn.Module):
        def __init__(self):
            super().__init__()
            self.mean, self.log_scale = (
                nn.Parameter(torch.randn(4)),
                nn.Parameter(torch.randn(1, 4)),
            )
            self.low, self.slope = nn.Parameter(torch.randn(1)), nn.PReLU(4)

        def forward(self, x: Tensor) -> Tensor:
            z = self.slope((x - self.mean) / self.log_scale.exp())
            z = torch.where(z > 0, z, self.low)
            return 0.5 * z.square().sum(1) + self.log_scale.sum() + (x / (1 + self.mean**2)).sum(1)

    module = Affine()
    return module, torch.randn(N, 4), module


@case
def zero_initialised_last_layer():
    module = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    nn.init.zeros_(module[2].weight)
    nn.init.zeros_(module[2].bias)
    return module, torch.randn(N, 2, 7, 7), lambda x: (module(x) - 1).square().sum((1, 2, 3))


@case
def unused_and_frozen_parameters():
    module = nn.ModuleDict({"used": nn.Linear(3, 2), "unused": nn.Linear(3, 2)})
    module["frozen"] = nn.Linear(2, 2).requires_grad_(False)
    return module, torch.randn(N, 3), lambda x: squares(module["frozen"])(module["used"](x))


@case
def bilinear():
    module = nn.Bilinear(3, 2, 4)
    return module, torch.randn(N, 5), lambda x: module(x[:, :3], x[:, 3:]).pow(2).sum(1)


@case
def distances_to_a_codebook():
    module = nn.ModuleDict({"below": nn.Linear(3, 3), "codes": nn.Embedding(N, 3)})

    def losses(x):
        distances = torch.cdist(module["below"](x), module["codes"].weight)
        return distances.square().sum((1, 2)) + torch.cdist(x[:, 0], module["codes"].weight).sum(1)

    return module, torch.randn(N, 4, 3), losses


@case
def weighed_bags():
    module = nn.ModuleDict({"bags": nn.EmbeddingBag(7, 3, mode="sum"), "weigh": nn.Linear(4, 4)})

    def losses(x):
        rows = (100 * x).abs().long() % 7
        return module["bags"](rows, per_sample_weights=module["weigh"](x)).square().sum(1)

    return module, torch.randn(N, 4), losses


@case
def einsum_with_experts():
    weight = nn.Parameter(torch.randn(2, 4, 3))
    module = nn.ParameterDict({"weight": weight})
    return (
        module,
        torch.randn(N, 6, 2, 4),
        lambda x: torch.einsum("ntei,eio->nteo", x, weight).square().sum((1, 2, 3)),
    )


class Scale(torch.autograd.Function):
    """A product with a weight, written by hand."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x * weight

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        return g * weight, (g * x).sum(0)


@case
def custom_function():
    layers = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    module = nn.ModuleDict({"layers": layers})
    module.register_parameter("scale", nn.Parameter(torch.randn(4)))
    return (
        module,
        torch.randn(N, 3),
        lambda x: squares(layers[1])(Scale.apply(layers[0](x), module.scale)),
    )


@case
def in_place_and_item():
    module = nn.ModuleList([nn.Linear(3, 4), nn.Linear(4, 4)])

    def losses(x):
        h = module[0](x)
        h[:, :2] = h[:, 2:].clone() * module[1].bias[:2]
        if h.sum().item() > -1e9:
            h = module[1](h)
        return h.square().sum(1)

    return module, torch.randn(N, 3), losses


@case
def complex_parameters():
    module = nn.ParameterDict({"w": nn.Parameter(torch.randn(3, 4, dtype=torch.cdouble))})
    return (
        module,
        torch.randn(N, 3),
        lambda x: (x.to(torch.cdouble) @ module["w"]).abs().pow(3).sum(1),
    )


@case
def mixture_of_experts():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(4, 3)
            self.experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

        def forward(self, x: Tensor) -> Tensor:
            tokens = x.reshape(-1, 4)
            weight, choice = self.gate(tokens).softmax(1).max(1)
            out = torch.zeros_like(tokens)
            for k, expert in enumerate(self.experts):
                rows = (choice == k).nonzero().squeeze(1)
                out = out.index_add(0, rows, expert(tokens[rows]) * weight[rows, None])
            return out.view(x.shape).square().sum((1, 2))

    module = Experts()
    return module, torch.randn(N, 6, 4), module


@case
def rows_of_a_scaled_table():
    table = nn.Parameter(torch.randn(7, 3))
    module = nn.ParameterDict({"table": table})
    return (
        module,
        torch.randperm(7)[:N],
        lambda rows: ((table * 2.0)[rows]).square().sum(1),
    )


@case
def checkpointed():
    inner = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    return (
        inner,
        torch.randn(N, 3),
        lambda x: torch.utils.checkpoint.checkpoint(inner, x, use_reentrant=False).square().sum(1),
    )


@case
def losses_stacked_from_single_samples():
    module = nn.Linear(3, 2)
    return (
        module,
        torch.randn(N, 3),
        lambda x: torch.stack([module(row).square().sum() for row in x]),
    )


@case
def diffusers_unet():
    from diffusers import UNet2DModel

    module = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=4,
    ).eval()
    return module, torch.randn(N, 1, 8, 8), lambda x: squares(lambda y: module(y, 10).sample - x)(x)


@case
def parameters_in_both_operands():
    module = nn.ParameterDict(
        {"w": nn.Parameter(torch.randn(4, 4)), "p": nn.Parameter(torch.rand(4) + 0.5)}
    )

    def losses(x):
        h = torch.lerp(x, x * module["p"], module["p"])
        h = torch.maximum(h * module["p"], module["p"]) + torch.hypot(h * module["p"], module["p"])
        return (torch.tanh(h @ module["w"]) @ module["w"]).square().sum(1)

    return module, torch.randn(N, 4), losses


@case
def learned_token_through_layers():
    class Token(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.randn(1, 1, 8))
            self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
            self.norms = nn.Sequential(nn.LayerNorm(8), nn.PReLU(1))

        def forward(self, x: Tensor) -> Tensor:
            token = self.norms(self.token).expand(len(x), -1, -1)
            return self.layer(torch.cat([token, x], 1))[:, 0].pow(3).sum(1)

    module = Token().eval()
    return module, torch.randn(N, 3, 8), module


@case
def normalised_constant():
    constant = nn.Parameter(torch.randn(1, 4, 3, 3))
    module = nn.ParameterDict({"constant": constant})
    return (
        module,
        torch.randn(N, 4, 3, 3),
        lambda x: (F.group_norm(constant, 2) * x).square().sum((1, 2, 3)),
    )


@case
def real_parameter_in_complex_arithmetic():
    weight = nn.Parameter(torch.randn(4))
    module = nn.ParameterDict({"weight": weight})
    return (
        module,
        torch.randn(N, 4),
        lambda x: (weight * torch.complex(x, 2 * x + 1)).abs().pow(3).sum(1),
    )


@case
def vector_transposed():
    weight = nn.Parameter(torch.randn(4))
    module = nn.ParameterDict({"weight": weight})
    return module, torch.randn(N, 4), lambda x: (x @ weight.t()).square()


@case
def experts_without_tokens():
    experts = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

    def losses(x):
        out = torch.zeros_like(x)
        for k, expert in enumerate(experts):
            rows = (x[:, 0] > 100 * k).nonzero().squeeze(1) if k else torch.arange(len(x))
            out = out.index_add(0, rows, expert(x[rows]))
        return out.square().sum(1)

    return experts, torch.randn(N, 4), losses


def language_model(kind: str, **options):
    from transformers import AutoConfig, AutoModelForCausalLM

    # The sizes under all the names that the architectures give them.
    sizes = {
        "vocab_size": 37,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "intermediate_size": 24,
        "max_position_embeddings": 32,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    config = AutoConfig.for_model(kind, **{**sizes, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()

    def losses(tokens):
        logits = module(tokens, use_cache=False).logits
        return F.cross_entropy(logits[:, :-1].transpose(1, 2), tokens[:, 1:], reduction="none").sum(
            1
        )

    return module, torch.randint(3, 37, (N, 6)), losses


@case
def gpt2():
    return language_model("gpt2", n_embd=16, n_layer=2, n_head=2, n_positions=32)


@case
def llama():
    return language_model("llama", head_dim=8)


@case
def mamba():
    return language_model("mamba", state_size=4, expand=2, conv_kernel=3)


@case
def jetmoe():
    return language_model("jetmoe", kv_channels=8, num_local_experts=3, num_experts_per_tok=2)


def zuko_flow(name: str, **options):
    import zuko

    module = getattr(zuko.flows, name)(3, **options)
    return module, torch.randn(N, 3), lambda x: -module().log_prob(x)


for flow in ["NICE", "MAF", "NSF", "NCSF", "SOSPF", "NAF", "UNAF", "GF", "BPF"]:
    small = {} if flow == "GF" else {"hidden_features": (8,)}
    ZOO[f"zuko_{flow}"] = lambda flow=flow, small=small: zuko_flow(flow, transforms=2, **small)


@case
def zuko_GMM():
    return zuko_flow("GMM", components=3)


@case
def normflows_glow():
    import normflows as nf

    warnings.filterwarnings("ignore", "torch.lu is deprecated")
    levels = 2
    q0, merges, flows = [], [], []
    for i in range(levels):
        blocks = [
            nf.flows.GlowBlock(2 ** (levels + 1 - i), 8, split_mode="channel", scale=True)
            for _ in range(2)
        ]
        flows.append([*blocks, nf.flows.Squeeze()])
        side = 8 // 2 ** (levels - i)
        merges += [nf.flows.Merge()] if i > 0 else []
        latent = (2 ** (levels - i) if i > 0 else 2 ** (levels + 1), side, side)
        q0.append(nf.distributions.DiagGaussian(latent))
    module = nf.MultiscaleFlow(q0, flows, merges)
    batch = torch.rand(N, 1, 8, 8)
    module.log_prob(batch, None)  # the first call sets the activation norms from the data
    return module, batch, lambda x: -module.log_prob(x, None)
