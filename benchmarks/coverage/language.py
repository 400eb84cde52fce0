"""Tiny causal language models of transformers: one per architecture that is listed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from case import Batch, Case, Model
from torch import Tensor

WORDS, LENGTH = 37, 6

NAMES = [
    line
    for line in Path(__file__)
    .with_name("architectures.txt")
    .read_text(encoding="utf-8")
    .splitlines()
    if not line.startswith("#")
]

# The sizes under all the names that the architectures give them.
SIZES: dict[str, Any] = {
    "vocab_size": WORDS,
    "vocab_size_per_layer_input": WORDS,
    "hidden_size": 16,
    "hidden_size_per_layer_input": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 32,
    "is_decoder": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    # attention
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "num_global_key_value_heads": 2,
    "head_dim": 8,
    "global_head_dim": 8,
    "q_lora_rank": 8,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "qk_head_dim": 8,
    "v_head_dim": 8,
    "index_head_dim": 8,
    "index_n_heads": 2,
    "index_topk": 4,
    "o_lora_rank": 8,
    "swa_head_dim": 8,
    "swa_num_attention_heads": 2,
    "swa_num_key_value_heads": 2,
    # experts
    "n_routed_experts": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "moe_num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_topk": 2,
    "router_hidden_size": 16,
    "dense_intermediate_size": 24,
    "shared_intermediate_size": 24,
    "hc_lowrank": 8,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
    "moe_intermediate_size": 12,
    "shared_expert_intermediate_size": 12,
    "moe_shared_expert_intermediate_size": 12,
    # state spaces and linear attention
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 4,
    "linear_value_head_dim": 4,
    "mamba_n_heads": 4,
    "n_mamba_heads": 2,
    "mamba_num_heads": 4,
    "mamba_d_head": 8,
    "mamba_head_dim": 8,
    "mamba_d_state": 4,
    "ssm_state_size": 4,
    "mamba_expand": 2,
}

_HEADS = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
_LAYERS = {"encoder_layers": 1, "decoder_layers": 2}
_WIDTHS = {"encoder_ffn_dim": 24, "decoder_ffn_dim": 24}
_SIDES = {**_HEADS, **_LAYERS, **_WIDTHS}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
_KINDS = ["sliding_attention", "full_attention"]
_STATES = {"mamba_n_groups": 1, "mamba_chunk_size": 4}


def _each(names: str, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: dict(options) for name in names.split()}


# Architecture -> what it needs beside; None takes a size away that it does not know.
OPTIONS: dict[str, dict[str, Any]] = {
    **_each("bart bigbird_pegasus blenderbot blenderbot-small marian mbart mvp pegasus", _SIDES),
    **_each("axk1 deepseek_v3 youtu", {"head_dim": 4}),
    **_each("mamba falcon_mamba", {"state_size": 4}),
    **_each("moshi opt xglm", {"ffn_dim": 24}),
    "plbart": _SIDES,
    "bamba": {**_STATES, "attn_layer_indices": [1]},
    "codegen": {"num_attention_heads": 4, "rotary_dim": 4},
    "cohere_compass_text": {
        "layer_types": _KINDS,
        "rope_parameters": dict.fromkeys(_KINDS, _ROPE),
    },
    "cpmant": {
        "dim_ff": 24,
        "dim_head": 8,
        "position_bias_num_buckets": 16,
        "position_bias_max_distance": 32,
    },
    "ctrl": {"dff": 24},
    "falcon": {"head_dim": None},
    "falcon_h1": {**_STATES, "mamba_d_ssm": 32},
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "activation_sparsity_pattern": None,
        "laurel_rank": 4,
        "altup_num_inputs": 2,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "gptj": {"rotary_dim": 4},
    "granitemoehybrid": {
        **_STATES,
        "layer_types": ["mamba", "attention"],
        "shared_intermediate_size": 12,
    },
    "kimi_linear": {
        "linear_attn_config": {
            "num_heads": 2,
            "head_dim": 4,
            "short_conv_kernel_size": 4,
            "kda_layers": [1],
            "full_attn_layers": [2],
        }
    },
    "lfm2_moe": {
        "layer_types": ["conv", "full_attention"],
        "num_dense_layers": 1,
        "rope_parameters": _ROPE,
    },
    "longcat_flash": {
        "head_dim": 4,
        "num_layers": 2,
        "ffn_hidden_size": 24,
        "expert_ffn_hidden_size": 12,
        "zero_expert_num": 2,
    },
    "mamba2": {"num_heads": 4, "expand": 2, "state_size": 4, "n_groups": 1, "chunk_size": 4},
    "mpt": {"expansion_ratio": 2},
    "nemotron_h": {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "attention", "mamba", "moe"],
        "n_groups": 1,
        "chunk_size": 4,
        "moe_latent_size": None,
    },
    "prophetnet": {
        **_WIDTHS,
        "num_hidden_layers": None,
        "num_encoder_layers": 1,
        "num_decoder_layers": 2,
        "num_encoder_attention_heads": 2,
        "num_decoder_attention_heads": 2,
    },
    "reformer": {
        "attn_layers": ["local", "lsh"],
        "attention_head_size": 8,
        "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0,
        "lsh_attention_probs_dropout_prob": 0.0,
        "local_attention_probs_dropout_prob": 0.0,
        "axial_pos_embds_dim": [8, 8],
        "axial_pos_shape": [2, 3],
        "feed_forward_size": 24,
        "hash_seed": 0,
        "local_attn_chunk_length": 3,
        "lsh_attn_chunk_length": 3,
        "num_buckets": 2,
        "num_hashes": 1,
    },
    "roc_bert": {
        "pronunciation_embed_dim": 4,
        "pronunciation_vocab_size": 11,
        "shape_embed_dim": 4,
        "shape_vocab_size": 13,
    },
    "rwkv": {"attention_hidden_size": 16},
    "trocr": {"decoder_layers": 2, "decoder_ffn_dim": 24, "decoder_attention_heads": 2},
    "whisper": {**_SIDES, "max_source_positions": 16, "max_target_positions": 32},
    "xlnet": {"max_position_embeddings": None, "d_head": 8, "d_inner": 24},
    "xlstm": {"head_dim": None, "qk_head_dim": None, "v_head_dim": None, "num_heads": 2},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zaya": {"num_experts_per_tok": 1},
}

# Row -> (architecture, options): kinds of heads, windows and positions that the defaults leave out.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama, tied head": ("llama", {"tie_word_embeddings": True}),
    "gpt2, untied head": ("gpt2", {"tie_word_embeddings": False}),
    "mixtral, untied head": ("mixtral", {"tie_word_embeddings": False}),
    "falcon, ALiBi": ("falcon", {"alibi": True}),
    "mistral, sliding window": ("mistral", {"sliding_window": 3}),
    "qwen2, sliding window": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 0},
    ),
    "jetmoe, three of four experts": ("jetmoe", {"num_experts_per_tok": 3}),
    "gpt2, fused attention": ("gpt2", {"attention": "sdpa"}),
    "llama, fused attention": ("llama", {"attention": "sdpa"}),
    "mixtral, fused attention": ("mixtral", {"attention": "sdpa"}),
    "mixtral, experts one by one": ("mixtral", {"experts": "eager"}),
    "gpt_oss, experts one by one": ("gpt_oss", {"experts": "eager"}),
    "qwen3_moe, experts by batched products": ("qwen3_moe", {"experts": "batched_mm"}),
}

_OTHER_INPUTS = "needs images, sound or another model beside the tokens"
_NESTED = "parts with sizes of their own; no tiny configuration was found that builds and runs"

# What AutoModelForCausalLM knows as well and the run leaves out, and why.
LEFT_OUT = {
    **dict.fromkeys(["dots3_note", "emu3", "gemma3", "gemma3n", "gemma4"], _OTHER_INPUTS),
    **dict.fromkeys(["gemma4_assistant", "gemma4_unified", "git", "got_ocr2"], _OTHER_INPUTS),
    **dict.fromkeys(["gemma4_unified_assistant", "llama4", "mllama", "musicgen"], _OTHER_INPUTS),
    **dict.fromkeys(["moss_transcribe_diarize", "musicgen_melody", "qwen3_5"], _OTHER_INPUTS),
    **dict.fromkeys(["phi4_multimodal", "qwen3_5_moe", "qwen4_exp"], _OTHER_INPUTS),
    **dict.fromkeys(["blt", "dbrx", "mimo_v2_flash", "zamba", "zamba2"], _NESTED),
}


def language_model(
    kind: str, attention: str = "eager", experts: str | None = None, **options: Any
) -> Model:
    """Return a tiny random model whose loss is the code length of the tokens."""
    from transformers import AutoConfig, AutoModelForCausalLM

    wanted = {**SIZES, **OPTIONS.get(kind, {}), **options}
    config = AutoConfig.for_model(kind, **{k: v for k, v in wanted.items() if v is not None})
    ways = {"attn_implementation": attention}
    ways |= {} if experts is None else {"experts_implementation": experts}
    module = AutoModelForCausalLM.from_config(config, **ways)
    module.train(kind == "reformer")  # it refuses to be differentiated otherwise

    def losses(batch: Batch) -> Tensor:
        tokens = batch["tokens"]
        logits = module(tokens, use_cache=False).logits[:, :-1].transpose(1, 2)
        return F.cross_entropy(logits, tokens[:, 1:], reduction="none").sum(1)

    return Model(module, lambda n: {"tokens": torch.randint(3, WORDS, (n, LENGTH))}, losses)


def _maker(kind: str, options: dict[str, Any]) -> Callable[[], Model]:
    return lambda: language_model(kind, **options)


def cases() -> list[Case]:
    """Return all listed architectures, then the variants."""
    wanted = {**{name: (name, {}) for name in NAMES}, **VARIANTS}
    return [Case("language model", row, _maker(*made)) for row, made in wanted.items()]
