"""What people do to models: adapters, checkpointing, compiling, freezing, autocast."""

import shutil
from collections.abc import Callable
from typing import Any

import torch
from case import Batch, Case, I, Model, O, on_vectors
from complex_numbers import COMPLEX
from language import language_model
from own_functions import FUNCTIONS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential


def _perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(I, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, O))


# Adapters


def lora(kind: str, targets: list[str], trained: bool = True, **options: Any) -> Model:
    """A language model with LoRA adapters; a fresh adapter has one factor that is zero."""
    from peft import LoraConfig, get_peft_model

    base = language_model(kind)
    config = LoraConfig(r=2, target_modules=targets, lora_dropout=0.0, **options)
    module = get_peft_model(base.module, config).eval()
    if trained:
        _move(module)
    return base._replace(module=module)


def lora_on_images() -> Model:
    from peft import LoraConfig, get_peft_model

    base = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, O))
    module = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "3"])).eval()
    _move(module)
    return on_vectors(module, 2, 6, 6)


def _move(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)


# Checkpointing


def checkpointed(reentrant: bool) -> Model:
    first, inner, last = nn.Linear(I, I), _perceptron(), nn.Linear(O, O)
    module = nn.ModuleList([first, inner, last])
    return on_vectors(
        module, I, output=lambda x: last(checkpoint(inner, first(x), use_reentrant=reentrant))
    )


def checkpointed_in_segments(reentrant: bool) -> Model:
    first, inner = nn.Linear(I, I), _perceptron()

    def output(x: Tensor) -> Tensor:
        return checkpoint_sequential(inner, 2, first(x), use_reentrant=reentrant)

    return on_vectors(nn.ModuleList([first, inner]), I, output=output)


def checkpointed_language_model(reentrant: bool) -> Model:
    model = language_model("llama")
    model.module.gradient_checkpointing_enable({"use_reentrant": reentrant})
    model.module.train()  # transformers checkpoints in training mode only; it has no dropout here
    return model


# Compiling


def compiled(of_original: bool, backend: str, donate: bool = True) -> Model:
    """``torch.compile``: losses of the original module, or of the compiled one."""
    torch._dynamo.reset()
    torch._functorch.config.donated_buffer = donate  # False lets a graph be used more than once
    whole = torch.compile(_perceptron(), backend=backend)
    original = whole._orig_mod
    return on_vectors(original, I, output=original if of_original else whole)


# Frozen and unused parameters


def frozen() -> Model:
    module = _perceptron()
    module[2].requires_grad_(False)
    module[0].bias.requires_grad_(False)
    return on_vectors(module, I)


def unused() -> Model:
    module = nn.ModuleDict({"used": _perceptron(), "unused": nn.Linear(3, 3)})
    module.register_parameter("scale", nn.Parameter(torch.randn(3)))
    return on_vectors(module, I, output=module["used"])


# Autocast


def autocast(module: nn.Module, *shape: int) -> Model:
    def output(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return module(x).float()

    return on_vectors(module, *shape, output=output)._replace(precise=False)


def autocast_perceptron() -> Model:
    return autocast(_perceptron(), I)


def autocast_convolutions() -> Model:
    module = nn.Sequential(nn.Conv2d(2, 8, 3), nn.GroupNorm(2, 8), nn.SiLU(), nn.Conv2d(8, 2, 3))
    return autocast(module, 2, 8, 8)


def autocast_attention() -> Model:
    return autocast(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), 5, 8)


def autocast_language_model(kind: str) -> Model:
    model = language_model(kind)

    def losses(batch: Batch) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return model.losses(batch).float()

    return model._replace(losses=losses, precise=False)


def bfloat16_weights() -> Model:
    """All in bfloat16, not by autocast."""
    module = _perceptron().to(torch.bfloat16)
    return on_vectors(module, I, output=lambda x: _in_bfloat16(module, x))


def _in_bfloat16(module: nn.Module, x: Tensor) -> Tensor:
    return module.to(torch.bfloat16)(x.bfloat16()).float()


ADAPTERS: dict[str, Callable[[], Model]] = {
    "LoRA on gpt2": lambda: lora("gpt2", ["c_attn", "c_fc"], fan_in_fan_out=True),
    "LoRA on gpt2, fresh": lambda: lora("gpt2", ["c_attn"], trained=False, fan_in_fan_out=True),
    "LoRA on llama": lambda: lora("llama", ["q_proj", "v_proj", "down_proj"]),
    "LoRA on llama, fresh": lambda: lora("llama", ["q_proj", "v_proj"], trained=False),
    "LoRA on llama, rank-stabilised": lambda: lora("llama", ["q_proj"], use_rslora=True),
    "DoRA on llama": lambda: lora("llama", ["q_proj", "v_proj"], use_dora=True),
    "LoRA on convolutions": lora_on_images,
}

CHECKPOINTS: dict[str, Callable[[], Model]] = {
    "checkpoint": lambda: checkpointed(reentrant=False),
    "checkpoint, reentrant": lambda: checkpointed(reentrant=True),
    "checkpoint_sequential": lambda: checkpointed_in_segments(reentrant=False),
    "checkpoint_sequential, reentrant": lambda: checkpointed_in_segments(reentrant=True),
    "llama with checkpoints": lambda: checkpointed_language_model(reentrant=False),
    "llama with checkpoints, reentrant": lambda: checkpointed_language_model(reentrant=True),
}

COMPILED: dict[str, Callable[[], Model]] = {
    "torch.compile, original module": lambda: compiled(True, "aot_eager"),
    "torch.compile, compiled losses (aot_eager)": lambda: compiled(False, "aot_eager"),
    "torch.compile, compiled losses (aot_eager), graph kept": lambda: compiled(
        False, "aot_eager", donate=False
    ),
    "torch.compile, compiled losses (eager)": lambda: compiled(False, "eager"),
}
if shutil.which("g++"):
    COMPILED["torch.compile, compiled losses (inductor)"] = lambda: compiled(False, "inductor")

OTHER: dict[str, Callable[[], Model]] = {
    "frozen parameters": frozen,
    "unused parameters": unused,
    "autocast bfloat16, perceptron": autocast_perceptron,
    "autocast bfloat16, convolutions": autocast_convolutions,
    "autocast bfloat16, transformer layer": autocast_attention,
    "autocast bfloat16, gpt2": lambda: autocast_language_model("gpt2"),
    "autocast bfloat16, llama": lambda: autocast_language_model("llama"),
    "bfloat16 weights": bfloat16_weights,
}


def cases() -> list[Case]:
    families = {
        "adapter": ADAPTERS,
        "checkpointing": CHECKPOINTS,
        "compiled": COMPILED,
        "own function": FUNCTIONS,
        "complex": COMPLEX,
        "other": OTHER,
    }
    return [Case(family, name, m) for family, made in families.items() for name, m in made.items()]
