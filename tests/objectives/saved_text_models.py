"""Tiny language models as the real libraries save them: transformers, tokenizers, peft, gguf."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

TEXTS = [
    "the cat sat on the mat and the dog ran away",
    "a dog sat",
    "every bird sings in the morning, and some at night",
    "cats and dogs ran to the mat",
]
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
    "bos_token": "<s>",
    "eos_token": "</s>",
}
IDS = {"pad_token_id": 0, "bos_token_id": 5, "eos_token_id": 6}
CAUSAL: dict[str, dict[str, Any]] = {
    "gpt2": {"n_positions": 24},
    "llama": {},
    "mistral": {"sliding_window": 8},
    "qwen2": {},
    "qwen3": {"head_dim": 8},
    "gemma2": {"head_dim": 8, "query_pre_attn_scalar": 8},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "gpt_neox": {},
    "phi": {"partial_rotary_factor": 0.5},
    "falcon": {"alibi": False},
    "bloom": {},
    "mamba": {"state_size": 4, "expand": 2},
}
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
}
MASKED = {"bert": {}, "roberta": {"max_position_embeddings": 26}}
SEQ2SEQ = {
    "t5": {
        "decoder_start_token_id": 0,
        "d_model": 16,
        "d_kv": 8,
        "d_ff": 24,
        "num_layers": 1,
        "num_heads": 2,
    },
    "bart": {
        **{f"{side}_layers": 1 for side in ("encoder", "decoder")},
        **{f"{side}_attention_heads": 2 for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": 24 for side in ("encoder", "decoder")},
        "decoder_start_token_id": 0,
        "d_model": 16,
        "max_position_embeddings": 24,
    },
}


def tokenizer(kind: str = "causal", pad: bool = True) -> Any:
    """Return a trained tokenizer: behind <s>, between [CLS] and [SEP], or before </s>."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = list(SPECIAL.values())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made = Tokenizer(models.BPE(unk_token=None))
    made.pre_tokenizer, made.decoder = bytes_, decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet),
    )
    form = {"causal": "<s> $A", "masked": "[CLS] $A [SEP]", "seq2seq": "$A </s>"}[kind]
    pairs = [(token, made.token_to_id(token)) for token in form.split() if token != "$A"]
    made.post_processor = processors.TemplateProcessing(single=form, special_tokens=pairs)
    told = {key: token for key, token in SPECIAL.items() if pad or key != "pad_token"}
    return PreTrainedTokenizerFast(tokenizer_object=made, **told)


def build(kind: str, auto: str, **options: Any) -> nn.Module:
    """Return a model of transformers with large random weights, so that every fault shows."""
    import transformers

    sizes = {"vocab_size": len(tokenizer()), **SIZES, **IDS}
    own = {**CAUSAL, **MASKED, **SEQ2SEQ}.get(kind, {})
    config = transformers.AutoConfig.for_model(kind, **{**sizes, **own, **options})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, auto).from_config(config).eval()
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * torch.randn_like(p)
    return model


def save(
    folder: Path, kind: str, auto: str = "AutoModelForCausalLM", words: str = "causal"
) -> Path:
    """Save a model and its tokenizer, and return their folder."""
    build(kind, auto).save_pretrained(folder)
    tokenizer(words).save_pretrained(folder)
    return folder


def adapted(base: Path) -> Any:
    """Return a GPT-2 with LoRA adapters that are no longer zero."""
    import peft
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    targets = {"target_modules": ["c_attn"], "fan_in_fan_out": True}
    made = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=2, **targets))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for name, p in made.named_parameters():
            p += 0.2 * torch.randn_like(p) * ("lora_B" in name)
    return made


def gguf_llama() -> nn.Module:
    """Return a Llama whose rows have 32 numbers, as blocks of 8 bits do."""
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_key_value_heads": 1}
    return build("llama", "AutoModelForCausalLM", **sizes)


def write_gguf(model: nn.Module, words: Any, path: Path) -> None:
    """Write a Llama as llama.cpp's converter lays it out: matrices in Q8_0, vectors in float32."""
    import gguf

    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    heads, shared = config.num_attention_heads, config.num_key_value_heads
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // heads)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(config.vocab_size)
    _write_words(writer, words)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, value in model.named_parameters():
        x = value.detach().numpy()
        if name.endswith(("q_proj.weight", "k_proj.weight")):  # pairs of a rotation side by side
            n = heads if "q_proj" in name else shared
            x = x.reshape(n, 2, len(x) // n // 2, -1).swapaxes(1, 2).reshape(x.shape)
        kind = gguf.GGMLQuantizationType.Q8_0 if x.ndim == 2 else gguf.GGMLQuantizationType.F32
        stored = gguf.quants.quantize(np.ascontiguousarray(x), kind)
        writer.add_tensor(names.get_name(name, (".weight",)), stored, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _write_words(writer: Any, words: Any) -> None:
    import json

    rules = json.loads(words.backend_tokenizer.to_str())["model"]
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in rules["merges"]]
    tokens = sorted(words.get_vocab(), key=words.get_vocab().get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in words.all_special_tokens else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_bos_token_id(words.bos_token_id)
    writer.add_eos_token_id(words.eos_token_id)
    writer.add_add_bos_token(True)
