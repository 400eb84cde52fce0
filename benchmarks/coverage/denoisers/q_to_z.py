"""Tiny transformers of diffusers, Q to Z."""

import torch
from diffusion import Denoiser, integers, normal, ones, times

from denoisers.shared import AXES, CONDITIONED, FILMED, HEADS, ONE, TEXT, TOKENS, WAN, WIDE

_SANA = {
    "in_channels": 4,
    "out_channels": 4,
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "num_layers": 1,
    "num_cross_attention_heads": 2,
    "cross_attention_head_dim": 12,
    "cross_attention_dim": 24,
    "caption_channels": 8,
}

Q_TO_Z: dict[str, Denoiser] = {
    "QwenImageTransformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **ONE,
            **WIDE,
            "joint_attention_dim": 8,
            "axes_dims_rope": AXES,
        },
        {**TOKENS, **TEXT, "timestep": times, "encoder_hidden_states_mask": ones(3)},
        {"img_shapes": lambda n: [[(1, 2, 2)]] * n},
    ),
    "QwenImage21Transformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **ONE,
            **WIDE,
            "context_in_dim": 8,
            "axes_dims_rope": AXES,
        },
        {**TOKENS, **TEXT, "timestep": times},
        {
            "img_shapes": lambda n: [[(1, 2, 2)]] * n,
            "img_mask": lambda n: torch.tensor([False] * 3 + [True]).expand(n, -1),
        },
    ),
    "SD3Transformer2DModel": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 4,
            "num_layers": 2,
            **HEADS,
            "joint_attention_dim": 8,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 8,
            "out_channels": 4,
            "pos_embed_max_size": 8,
        },
        {**CONDITIONED, "pooled_projections": normal(8)},
    ),
    "SD3Transformer2DModel, dual attention": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 4,
            "num_layers": 2,
            **HEADS,
            "joint_attention_dim": 8,
            "caption_projection_dim": 16,
            "pooled_projection_dim": 8,
            "out_channels": 4,
            "pos_embed_max_size": 8,
            "dual_attention_layers": (0,),
            "qk_norm": "rms_norm",
        },
        {**CONDITIONED, "pooled_projections": normal(8)},
        named="SD3Transformer2DModel",
    ),
    "SanaTransformer2DModel": Denoiser({**_SANA, "sample_size": 8}, CONDITIONED),
    "SanaVideoTransformer3DModel": Denoiser(
        {**_SANA, "sample_size": 4, "rope_max_seq_len": 8}, FILMED
    ),
    "SkyReelsV2Transformer3DModel": Denoiser(WAN, FILMED),
    "StableAudioDiTModel": Denoiser(
        {
            "sample_size": 4,
            "in_channels": 4,
            **ONE,
            "attention_head_dim": 8,
            "num_attention_heads": 2,
            "num_key_value_attention_heads": 2,
            "out_channels": 4,
            "cross_attention_dim": 8,
            "time_proj_dim": 8,
            "global_states_input_dim": 6,
            "cross_attention_input_dim": 8,
        },
        {
            "hidden_states": normal(4, 5),
            "timestep": times,
            "encoder_hidden_states": normal(3, 8),
            "global_hidden_states": normal(1, 6),
        },
        {"rotary_embedding": lambda n: (torch.ones(6, 4), torch.zeros(6, 4))},
    ),
    "StableAudio3DiTModel": Denoiser(
        {
            "io_channels": 4,
            "embed_dim": 32,
            "depth": 1,
            "num_heads": 2,
            "cond_token_dim": 8,
            "global_cond_dim": 6,
            "local_add_cond_dim": 3,
            "timestep_features_dim": 8,
            "num_memory_tokens": 2,
        },
        {
            "hidden_states": normal(4, 5),
            "timestep": times,
            "encoder_hidden_states": normal(3, 8),
            "global_hidden_states": normal(6),
        },
    ),
    "Transformer2DModel": Denoiser(
        {**HEADS, "in_channels": 8, "norm_num_groups": 4, "cross_attention_dim": 8},
        {"hidden_states": normal(8, 4, 4), **TEXT},
    ),
    "Transformer2DModel, discrete": Denoiser(
        {**HEADS, "sample_size": 2, "num_vector_embeds": 11},
        {"hidden_states": integers(10, 4)},
        named="Transformer2DModel",
    ),
    "Transformer2DModel, linear projection": Denoiser(
        {
            **HEADS,
            "in_channels": 8,
            "norm_num_groups": 4,
            "cross_attention_dim": 8,
            "use_linear_projection": True,
        },
        {"hidden_states": normal(8, 4, 4), **TEXT},
        named="Transformer2DModel",
    ),
    "TransformerTemporalModel": Denoiser(
        {**HEADS, "in_channels": 8, "norm_num_groups": 4},
        {"hidden_states": normal(8, 4, 4)},
    ),
    "UVit2DModel": Denoiser(
        {
            "hidden_size": 16,
            "cond_embed_dim": 8,
            "micro_cond_encode_dim": 4,
            "micro_cond_embed_dim": 20,
            "encoder_hidden_size": 8,
            "vocab_size": 12,
            "codebook_size": 11,
            "in_channels": 16,
            "block_out_channels": 16,
            "num_res_blocks": 1,
            "block_num_heads": 2,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "sample_size": 4,
        },
        {
            "input_ids": integers(11, 4, 4),
            "encoder_hidden_states": normal(3, 8),
            "pooled_text_emb": normal(8),
            "micro_conds": normal(5),
        },
    ),
    "WanTransformer3DModel": Denoiser(WAN, FILMED),
    "WanVACETransformer3DModel": Denoiser(
        {**WAN, "num_layers": 2, "vace_layers": [0], "vace_in_channels": 6},
        {**FILMED, "control_hidden_states": normal(6, 2, 4, 4)},
    ),
}
