"""Tiny causal language models with large random weights in float64, so that every fault shows."""

import torch
from torch import nn

WORDS, POSITIONS = 37, 32

# The sizes under all the names that the architectures give them.
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
# By how they know where a token stands.
ABSOLUTE = {
    "gpt2": {},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 4},
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
}
ROTARY = {
    "llama": {},
    "gpt_neox": {},
    "mistral": {"sliding_window": 3, "head_dim": 8},
    "qwen2": {},
    "stablelm": {},
}
ALIBI = {"bloom": {}, "falcon": {"alibi": True}, "mpt": {"expansion_ratio": 2}}
RECURRENT = {"mamba": {"state_size": 4, "expand": 2}}
MODELS = ABSOLUTE | ROTARY | ALIBI | RECURRENT
FUSED = set(MODELS) - {"gpt_neo", *ALIBI, *RECURRENT}


def language_model(kind: str, **options) -> nn.Module:
    """Return a model of transformers; softmax is fused where it can be: else it is float32."""
    from transformers import AutoConfig, AutoModelForCausalLM

    wanted = {**SIZES, **MODELS.get(kind, {}), **options}
    config = AutoConfig.for_model(kind, **{k: v for k, v in wanted.items() if v is not None})
    way = {"attn_implementation": "sdpa" if kind in FUSED else "eager"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, **way).double().eval()
        with torch.no_grad():
            for p in model.parameters():
                p += 0.3 * torch.randn_like(p)
    return model


class Recurrent(nn.Module):
    """A model of one's own: it knows token ids alone, and returns ``form`` of the logits."""

    def __init__(self, form=lambda logits: logits) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(WORDS, 8)
            self.cell = nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, WORDS)
        self.form = form
        self.double()

    def forward(self, tokens):
        return self.form(self.head(self.cell(self.embedding(tokens))[0]))
