"""Tiny transformers of diffusers, H to K."""

import torch
from diffusion import Denoiser, normal, ones, steps, times

from denoisers.shared import (
    AXES,
    CONDITIONED,
    FILMED,
    HUNYUAN_VIDEO,
    MASKED,
    ONE,
    PICTURE,
    TEXT,
    WAN,
    WIDE,
)

_HUNYUAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 4,
    "patch_size": 2,
    "sample_size": 8,
    "hidden_size": 16,
    "cross_attention_dim": 8,
    "cross_attention_dim_t5": 8,
    "pooled_projection_dim": 4,
    "text_len": 3,
    "text_len_t5": 3,
}
_HUNYUAN_INPUTS = {
    **PICTURE,
    "timestep": times,
    "encoder_hidden_states": normal(3, 8),
    "text_embedding_mask": ones(3),
    "encoder_hidden_states_t5": normal(3, 8),
    "text_embedding_mask_t5": ones(3),
    "image_meta_size": normal(6),
    "style": lambda n: torch.zeros(n, dtype=torch.long),
}
_HUNYUAN_ROPE = {"image_rotary_emb": lambda n: (torch.ones(16, 8), torch.zeros(16, 8))}

H_TO_K: dict[str, Denoiser] = {
    "HeliosTransformer3DModel": Denoiser(
        {
            **{k: v for k, v in WAN.items() if k != "rope_max_seq_len"},
            "rope_dim": (4, 4, 4),
            "has_multi_term_memory_patch": False,
            "zero_history_timestep": False,
            "guidance_cross_attn": False,
        },
        FILMED,
    ),
    "HunyuanDiT2DModel": Denoiser(
        {**_HUNYUAN, **ONE, "num_layers": 2}, _HUNYUAN_INPUTS, _HUNYUAN_ROPE
    ),
    "HunyuanDiT2DControlNetModel": Denoiser(
        {**_HUNYUAN, "transformer_num_layers": 4},
        {**_HUNYUAN_INPUTS, "controlnet_cond": normal(4, 8, 8)},
        _HUNYUAN_ROPE,
    ),
    "HunyuanImageTransformer2DModel": Denoiser(
        {**HUNYUAN_VIDEO, "patch_size": (2, 2), "rope_axes_dim": (8, 8)},
        {**CONDITIONED, **MASKED, "timestep": times},
    ),
    "HunyuanVideoTransformer3DModel": Denoiser(
        {**HUNYUAN_VIDEO, "pooled_projection_dim": 8},
        {**FILMED, **MASKED, "pooled_projections": normal(8), "guidance": steps},
    ),
    "HunyuanVideo15Transformer3DModel": Denoiser(
        {
            **{k: v for k, v in HUNYUAN_VIDEO.items() if k != "num_single_layers"},
            "text_embed_2_dim": 6,
            "image_embed_dim": 6,
        },
        {
            **FILMED,
            **MASKED,
            "timestep": times,
            "encoder_hidden_states_2": normal(2, 6),
            "encoder_attention_mask_2": ones(2),
            "image_embeds": normal(2, 6),
        },
    ),
    "HunyuanVideoFramepackTransformer3DModel": Denoiser(
        {
            **HUNYUAN_VIDEO,
            "pooled_projection_dim": 8,
            "image_proj_dim": 6,
            "has_image_proj": True,
            "has_clean_x_embedder": True,
        },
        {
            **FILMED,
            **MASKED,
            "pooled_projections": normal(8),
            "guidance": steps,
            "image_embeds": normal(2, 6),
            "latents_clean": normal(4, 1, 4, 4),
            "latents_history_2x": normal(4, 2, 4, 4),
            "latents_history_4x": normal(4, 4, 8, 8),
        },
        {
            "indices_latents": torch.arange(2),
            "indices_latents_clean": torch.arange(1),
            "indices_latents_history_2x": torch.arange(2),
            "indices_latents_history_4x": torch.arange(4),
        },
    ),
    "Ideogram4Transformer2DModel": Denoiser(
        {
            "in_channels": 4,
            **ONE,
            **WIDE,
            "intermediate_size": 24,
            "adaln_dim": 8,
            "llm_features_dim": 8,
            "mrope_section": (4, 2, 2),
        },
        {"hidden_states": normal(5, 4), "timestep": times, "encoder_hidden_states": normal(5, 8)},
        {
            "position_ids": lambda n: torch.arange(5)[None, :, None].expand(n, -1, 3),
            "segment_ids": lambda n: torch.zeros(n, 5, dtype=torch.long),
            "indicator": lambda n: torch.tensor([3, 3, 2, 2, 2]).expand(n, -1),
        },
    ),
    "JoyImageEditTransformer3DModel": Denoiser(
        {
            "in_channels": 4,
            "hidden_size": 32,
            "num_attention_heads": 2,
            "text_dim": 8,
            "num_layers": 1,
            "rope_dim_list": list(AXES),
        },
        {"hidden_states": normal(1, 4, 2, 4, 4), **TEXT, "timestep": steps},
    ),
    "Kandinsky5Transformer3DModel": Denoiser(
        {
            "in_visual_dim": 4,
            "in_text_dim": 8,
            "in_text_dim2": 6,
            "time_dim": 8,
            "out_visual_dim": 4,
            "model_dim": 32,
            "ff_dim": 24,
            "num_text_blocks": 1,
            "num_visual_blocks": 1,
            "axes_dims": (8, 12, 12),
        },
        {
            "hidden_states": normal(2, 4, 4, 4),
            **TEXT,
            "timestep": steps,
            "pooled_projections": normal(6),
        },
        {
            "visual_rope_pos": lambda n: (torch.arange(2), torch.arange(2), torch.arange(2)),
            "text_rope_pos": lambda n: torch.arange(3),
        },
    ),
    "Kandinsky6Transformer3DModel": Denoiser(
        {
            "in_visual_dim": 4,
            "out_visual_dim": 4,
            "in_text_dim": 8,
            "in_text_dim2": 6,
            "time_dim": 8,
            "model_dim": 32,
            "ff_dim": 24,
            "num_text_blocks": 1,
            "num_visual_blocks": 1,
            "axes_dims": (8, 12, 12),
            "visual_cond": False,
            "in_audio_dim": 4,
            "out_audio_dim": 4,
        },
        {
            "hidden_states": normal(2, 4, 4, 4),
            **TEXT,
            "timestep": steps,
            "pooled_projections": normal(6),
        },
    ),
    "Krea2Transformer2DModel": Denoiser(
        {
            "in_channels": 4,
            **ONE,
            **WIDE,
            "num_key_value_heads": 1,
            "intermediate_size": 24,
            "timestep_embed_dim": 8,
            "text_hidden_dim": 8,
            "num_text_layers": 2,
            "text_num_attention_heads": 2,
            "text_num_key_value_heads": 2,
            "text_intermediate_size": 12,
            "num_layerwise_text_blocks": 1,
            "num_refiner_text_blocks": 1,
            "axes_dims_rope": AXES,
        },
        {
            "hidden_states": normal(4, 4),
            "encoder_hidden_states": normal(3, 2, 8),
            "timestep": times,
        },
        {"position_ids": torch.zeros(7, 3)},
    ),
}
