"""Low-rank adapters on a frozen base of short integers, against the loop over samples."""

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from fimetric.gradients import GradientNorms
from fimetric.gradients.reference import squared_gradient_norms


class Rounded(torch.autograd.Function):
    """x W^T, of a W that is kept in 8 bits and written out for the moment that it is needed."""

    @staticmethod
    def forward(ctx, x, weight, scale):
        ctx.save_for_backward(weight, scale)
        return x @ (weight.to(x) * scale).T

    @staticmethod
    def backward(ctx, g):
        weight, scale = ctx.saved_tensors
        return g @ (weight.to(g) * scale), None, None


class Int8(nn.Module):
    """A linear layer whose weights are whole numbers of 8 bits times a scale per output."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True) / 127
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def written_out(self) -> Tensor:
        return self.weight.to(self.scale) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.written_out())


class Int8InOneOperation(Int8):
    def forward(self, x: Tensor) -> Tensor:
        return Rounded.apply(x, self.weight, self.scale)


class LoRA(nn.Module):
    """A base layer and a product of two thin matrices beside it.

    References:
        LoRA: Low-Rank Adaptation of Large Language Models (Hu et al., 2021, arXiv 2106.09685).
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        O, I = base.weight.shape
        self.base, self.A = base, nn.Parameter(torch.randn(2, I) / 8)
        self.B = nn.Parameter(torch.randn(O, 2) / 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2 * (x @ self.A.T) @ self.B.T


class DoRA(LoRA):
    """The same inside a weight of given row norms.

    References:
        DoRA: Weight-Decomposed Low-Rank Adaptation (Liu et al., 2024, arXiv 2402.09353).
    """

    def __init__(self, base: nn.Module) -> None:
        super().__init__(base)
        self.magnitude = nn.Parameter(base.written_out().norm(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.base.written_out() + 2 * self.B @ self.A
        return x @ (weight * (self.magnitude / weight.norm(dim=1)).unsqueeze(1)).T


def replaced(module: nn.Module, new) -> nn.Module:
    """Put ``new(layer)`` in place of every linear layer but the head."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and name != "lm_head":
            setattr(module, name, new(child))
        else:
            replaced(child, new)
    return module


def llama() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes, **heads)).eval().requires_grad_(False)


def losses_of(module: nn.Module):
    def losses(ids: Tensor) -> Tensor:
        logits = module(input_ids=ids).logits
        return nn.functional.cross_entropy(logits[:, :-1].mT, ids[:, 1:], reduction="none").sum(1)

    return losses


def assert_equals_the_loop(module, norms, ids, rtol):
    losses = losses_of(module)
    adapters = [p for p in module.parameters() if p.requires_grad]
    expected = squared_gradient_norms(losses, ids.split(1), adapters)
    for _ in range(2):
        torch.testing.assert_close(norms(losses(ids)), expected, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize(
    ("base", "adapter"), [(Int8, LoRA), (Int8InOneOperation, LoRA), (Int8, DoRA)]
)
def test_norms_of_adapters_on_whole_numbers_are_those_of_the_loop(base, adapter):
    module = replaced(llama(), lambda linear: adapter(base(linear))).double()
    norms = GradientNorms(module)
    assert len(norms.names) == 14 * (2 if adapter is LoRA else 3)
    assert_equals_the_loop(module, norms, torch.randint(40, (4, 9)), rtol=1e-6)
    assert all(p.grad is None for p in module.parameters())
    assert all(
        b.dtype == torch.int8 for n, b in module.named_buffers() if n.endswith("base.weight")
    )


def test_adapters_that_begin_at_zero_and_are_then_trained():
    module = replaced(llama(), lambda linear: LoRA(Int8InOneOperation(linear))).double()
    ids, norms = torch.randint(40, (4, 9)), GradientNorms(module)
    trained = {n: p.detach().clone() for n, p in module.named_parameters() if n.endswith("B")}
    with torch.no_grad():
        for name in trained:
            module.get_parameter(name).zero_()
    table = norms(losses_of(module)(ids))
    zero = torch.tensor([name.endswith("A") for name in norms.names])
    assert (table[:, zero] == 0).all()
    assert (table[:, ~zero] > 0).all()
    with torch.no_grad():
        for name, values in trained.items():
            module.get_parameter(name).copy_(values)
    assert_equals_the_loop(module, norms, ids, rtol=1e-6)


def four_bits(linear: nn.Linear) -> nn.Module:
    library = pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    made = library.nn.Linear4bit(linear.in_features, linear.out_features, bias=False)
    made.weight = library.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4")
    return made.to("cpu")  # which is when it is quantised


def eight_bits(linear: nn.Linear) -> nn.Module:
    library = pytest.importorskip("bitsandbytes", reason="pip install bitsandbytes")
    sizes = linear.in_features, linear.out_features
    made = library.nn.Linear8bitLt(*sizes, bias=False, has_fp16_weights=False)
    made.weight = library.nn.Int8Params(linear.weight.data, requires_grad=False)
    return made.to("cpu")


@pytest.mark.filterwarnings("ignore")  # of the library, about casts
@pytest.mark.parametrize("base", [four_bits, eight_bits])
def test_norms_of_lora_on_bitsandbytes_are_those_of_the_loop(base):
    peft = pytest.importorskip("peft", reason="make bench installs it")
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    module = peft.get_peft_model(replaced(llama(), base), config).eval()
    kinds = {p.dtype for p in module.parameters() if not p.requires_grad}
    assert kinds & {torch.int8, torch.uint8}
    assert_equals_the_loop(module, GradientNorms(module), torch.randint(40, (4, 9)), rtol=1e-4)
