"""Tiny transformers of diffusers."""

from typing import Any

import torch
from diffusion import Denoiser, integers, normal, ones, steps, times
from torch import Tensor

HEADS = {"num_attention_heads": 2, "attention_head_dim": 8}  # 16 wide
WIDE = {"num_attention_heads": 2, "attention_head_dim": 16}  # for rotations along three axes
AXES = (4, 6, 6)
ONE = {"num_layers": 1}
TWO = {"num_layers": 1, "num_single_layers": 1}
PICTURE = {"hidden_states": normal(4, 8, 8)}
VIDEO = {"hidden_states": normal(4, 2, 4, 4)}
TOKENS = {"hidden_states": normal(4, 4)}  # four patches
TEXT = {"encoder_hidden_states": normal(3, 8)}
CONDITIONED = {**PICTURE, **TEXT, "timestep": steps}
FILMED = {**VIDEO, **TEXT, "timestep": steps}


def _image_ids(axes: int) -> Tensor:
    ids = torch.zeros(4, axes)
    ids[:, axes - 2] = torch.tensor([0, 0, 1, 1])
    ids[:, axes - 1] = torch.tensor([0, 1, 0, 1])
    return ids


def _ids(axes: int = 3, batched: bool = False) -> dict[str, Any]:
    """Positions of four patches and three words."""
    image, text = _image_ids(axes), torch.zeros(3, axes)
    if batched:
        return {
            "img_ids": lambda n: image.expand(n, -1, -1),
            "txt_ids": lambda n: text.expand(n, -1, -1),
        }
    return {"img_ids": image, "txt_ids": text}


def _flux(**options: Any) -> dict[str, Any]:
    kept = {"in_channels": 4, "joint_attention_dim": 8, "axes_dims_rope": AXES, **WIDE, **TWO}
    return {**kept, **options}


_WAN = {
    "num_attention_heads": 2,
    "attention_head_dim": 12,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 8,
    "freq_dim": 8,
    "ffn_dim": 24,
    "num_layers": 1,
    "rope_max_seq_len": 16,
}
_COGVIDEO = {
    "num_attention_heads": 2,
    "attention_head_dim": 8,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 4,
    "text_embed_dim": 8,
    "num_layers": 1,
    "sample_width": 4,
    "sample_height": 4,
    "sample_frames": 5,
    "max_text_seq_length": 3,
}
_COGVIEW = {
    "in_channels": 4,
    "out_channels": 4,
    "num_layers": 1,
    "attention_head_dim": 8,
    "num_attention_heads": 2,
    "text_embed_dim": 8,
    "time_embed_dim": 8,
    "condition_dim": 4,
    "sample_size": 8,
}
_CROPS = {
    "original_size": normal(2),
    "target_size": normal(2),
    "crop_coords": normal(2),
}
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
_HUNYUAN_VIDEO = {
    "in_channels": 4,
    "out_channels": 4,
    **WIDE,
    **TWO,
    "num_refiner_layers": 1,
    "patch_size": 2,
    "text_embed_dim": 8,
    "rope_axes_dim": AXES,
}
_MASKED = {"encoder_attention_mask": ones(3)}
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
_BASIC = {**HEADS, "in_channels": 4, **ONE}
_CLASSES = {"timestep": steps, "class_labels": integers(5)}

TRANSFORMERS: dict[str, Denoiser] = {
    "AceStepTransformer1DModel": Denoiser(
        {
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "in_channels": 12,
            "audio_acoustic_hidden_dim": 4,
            "sliding_window": 2,
        },
        {
            "hidden_states": normal(8, 4),
            "timestep": times,
            "timestep_r": times,
            "encoder_hidden_states": normal(3, 16),
            "context_latents": normal(8, 8),
        },
    ),
    "AllegroTransformer3DModel": Denoiser(
        {
            "num_attention_heads": 2,
            "attention_head_dim": 12,
            **ONE,
            "cross_attention_dim": 24,
            "sample_height": 4,
            "sample_width": 4,
            "sample_frames": 2,
            "caption_channels": 8,
        },
        {**VIDEO, "encoder_hidden_states": normal(1, 3, 8), "timestep": steps},
        {
            "image_rotary_emb": lambda n: (
                tuple((torch.ones(8, 4), torch.zeros(8, 4)) for _ in range(3)),
                tuple(torch.zeros(n, 8, dtype=torch.long) for _ in range(3)),
            )
        },
    ),
    "AnyFlowTransformer3DModel": Denoiser(
        _WAN,
        {
            "hidden_states": normal(2, 4, 4, 4),
            **TEXT,
            "timestep": lambda n: torch.rand(n, 2),
            "r_timestep": lambda n: torch.rand(n, 2),
        },
    ),
    "AuraFlowTransformer2DModel": Denoiser(
        {
            "sample_size": 8,
            "num_mmdit_layers": 1,
            "num_single_dit_layers": 1,
            **HEADS,
            "joint_attention_dim": 8,
            "caption_projection_dim": 16,
            "pos_embed_max_size": 16,
        },
        {**PICTURE, **TEXT, "timestep": times},
    ),
    "BriaTransformer2DModel": Denoiser(
        _flux(pooled_projection_dim=8), {**TOKENS, **TEXT, "timestep": steps}, _ids()
    ),
    "BriaFiboTransformer2DModel": Denoiser(
        _flux(text_encoder_dim=8),
        {"hidden_states": normal(4, 4), **TEXT, "timestep": steps},
        {**_ids(), "text_encoder_layers": lambda n: [torch.ones(n, 3, 8)] * 2},
    ),
    "ChromaTransformer2DModel": Denoiser(
        _flux(approximator_num_channels=8, approximator_hidden_dim=8, approximator_layers=1),
        {**TOKENS, **TEXT, "timestep": times},
        _ids(),
    ),
    "ChronoEditTransformer3DModel": Denoiser({**_WAN, "rope_temporal_skip_len": 2}, FILMED),
    "CogVideoXTransformer3DModel": Denoiser(
        _COGVIDEO,
        {"hidden_states": normal(2, 4, 4, 4), **TEXT, "timestep": steps},
    ),
    "CogView3PlusTransformer2DModel": Denoiser(
        {**_COGVIEW, "pos_embed_max_size": 8}, {**CONDITIONED, **_CROPS}
    ),
    "CogView4Transformer2DModel": Denoiser(
        {**_COGVIEW, "attention_head_dim": 8, "rope_axes_dim": (8, 8)}, {**CONDITIONED, **_CROPS}
    ),
    "ConsisIDTransformer3DModel": Denoiser(
        _COGVIDEO,
        {"hidden_states": normal(2, 4, 4, 4), **TEXT, "timestep": steps},
    ),
    "CosmosTransformer3DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **WIDE,
            **ONE,
            "mlp_ratio": 2,
            "text_embed_dim": 8,
            "adaln_lora_dim": 4,
            "max_size": (4, 8, 8),
            "concat_padding_mask": False,
        },
        {**VIDEO, **TEXT, "timestep": times},
        {"fps": 30},
    ),
    "DiTTransformer2DModel": Denoiser(
        {**_BASIC, "sample_size": 8, "num_embeds_ada_norm": 5, "norm_num_groups": 4},
        {**PICTURE, **_CLASSES},
    ),
    "DreamLiteTransformer2DModel": Denoiser(
        {**HEADS, "in_channels": 8, "norm_num_groups": 4, "cross_attention_dim": 8},
        {"hidden_states": normal(8, 4, 4), **TEXT},
    ),
    "EasyAnimateTransformer3DModel": Denoiser(
        {
            **WIDE,
            "in_channels": 4,
            "out_channels": 4,
            "patch_size": 2,
            "sample_width": 4,
            "sample_height": 4,
            "num_layers": 1,
            "mmdit_layers": 1,
            "time_embed_dim": 8,
            "text_embed_dim": 8,
            "resize_inpaint_mask_directly": False,
        },
        FILMED,
    ),
    "ErnieImageTransformer2DModel": Denoiser(
        {
            "hidden_size": 32,
            "num_attention_heads": 2,
            "num_layers": 1,
            "ffn_hidden_size": 24,
            "in_channels": 4,
            "out_channels": 4,
            "text_in_dim": 8,
            "rope_axes_dim": AXES,
        },
        {
            "hidden_states": normal(4, 2, 2),
            "timestep": steps,
            "text_bth": normal(3, 8),
            "text_lens": lambda n: torch.full((n,), 3),
        },
    ),
    "FluxTransformer2DModel": Denoiser(
        _flux(pooled_projection_dim=8),
        {**TOKENS, **TEXT, "pooled_projections": normal(8), "timestep": times},
        _ids(),
    ),
    "FluxTransformer2DModel, guidance": Denoiser(
        _flux(pooled_projection_dim=8, guidance_embeds=True),
        {**TOKENS, **TEXT, "pooled_projections": normal(8), "timestep": times, "guidance": times},
        _ids(),
        named="FluxTransformer2DModel",
    ),
    "Flux2Transformer2DModel": Denoiser(
        _flux(axes_dims_rope=(4, 4, 4, 4), timestep_guidance_channels=8),
        {**TOKENS, **TEXT, "timestep": times, "guidance": times},
        _ids(4),
    ),
    "Flux3Transformer2DModel": Denoiser(
        _flux(axes_dims_rope=(4, 4, 4, 4), timestep_channels=8, cond_in_channels=4),
        {**TOKENS, **TEXT, "timestep": times},
        _ids(4),
    ),
    "GlmImageTransformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **ONE,
            **HEADS,
            "text_embed_dim": 8,
            "time_embed_dim": 8,
            "condition_dim": 4,
            "prior_vq_quantizer_codebook_size": 11,
        },
        {
            **CONDITIONED,
            "prior_token_id": integers(11, 16),
            "prior_token_drop": lambda n: torch.zeros(n, 16, dtype=torch.bool),
            "target_size": normal(2),
            "crop_coords": normal(2),
        },
    ),
    "HeliosTransformer3DModel": Denoiser(
        {
            **{k: v for k, v in _WAN.items() if k != "rope_max_seq_len"},
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
        {**_HUNYUAN_VIDEO, "patch_size": (2, 2), "rope_axes_dim": (8, 8)},
        {**CONDITIONED, **_MASKED, "timestep": times},
    ),
    "HunyuanVideoTransformer3DModel": Denoiser(
        {**_HUNYUAN_VIDEO, "pooled_projection_dim": 8},
        {**FILMED, **_MASKED, "pooled_projections": normal(8), "guidance": steps},
    ),
    "HunyuanVideo15Transformer3DModel": Denoiser(
        {
            **{k: v for k, v in _HUNYUAN_VIDEO.items() if k != "num_single_layers"},
            "text_embed_2_dim": 6,
            "image_embed_dim": 6,
        },
        {
            **FILMED,
            **_MASKED,
            "timestep": times,
            "encoder_hidden_states_2": normal(2, 6),
            "encoder_attention_mask_2": ones(2),
            "image_embeds": normal(2, 6),
        },
    ),
    "HunyuanVideoFramepackTransformer3DModel": Denoiser(
        {
            **_HUNYUAN_VIDEO,
            "pooled_projection_dim": 8,
            "image_proj_dim": 6,
            "has_image_proj": True,
            "has_clean_x_embedder": True,
        },
        {
            **FILMED,
            **_MASKED,
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
    "LTXVideoTransformer3DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **HEADS,
            "cross_attention_dim": 16,
            **ONE,
            "caption_channels": 8,
        },
        {"hidden_states": normal(8, 4), **TEXT, "timestep": steps, **_MASKED},
        {"num_frames": 2, "height": 2, "width": 2},
    ),
    "LTX2VideoTransformer3DModel": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            **HEADS,
            "cross_attention_dim": 16,
            "audio_in_channels": 4,
            "audio_out_channels": 4,
            "audio_num_attention_heads": 2,
            "audio_attention_head_dim": 4,
            "audio_cross_attention_dim": 8,
            **ONE,
            "caption_channels": 8,
        },
        {
            "hidden_states": normal(8, 4),
            "audio_hidden_states": normal(2, 4),
            **TEXT,
            "audio_encoder_hidden_states": normal(3, 8),
            "timestep": steps,
            **_MASKED,
            "audio_encoder_attention_mask": ones(3),
        },
        {"num_frames": 2, "height": 2, "width": 2, "audio_num_frames": 2},
    ),
    "LatteTransformer3DModel": Denoiser(
        {
            **_BASIC,
            "out_channels": 8,
            "sample_size": 4,
            "patch_size": 2,
            "attention_bias": True,
            "activation_fn": "gelu-approximate",
            "num_embeds_ada_norm": 10,
            "norm_type": "ada_norm_single",
            "norm_elementwise_affine": False,
            "caption_channels": 8,
            "cross_attention_dim": 16,
            "video_length": 2,
        },
        FILMED,
    ),
    "LongCatAudioDiTTransformer": Denoiser(
        {"dit_dim": 32, "dit_depth": 2, "dit_heads": 2, "dit_text_dim": 8, "latent_dim": 4},
        {
            "hidden_states": normal(4, 4),
            **TEXT,
            "timestep": times,
            "latent_cond": normal(4, 4),
            "encoder_attention_mask": ones(3, dtype=torch.bool),
            "attention_mask": ones(4, dtype=torch.bool),
        },
    ),
    "LongCatImageTransformer2DModel": Denoiser(
        _flux(pooled_projection_dim=8), {**TOKENS, **TEXT, "timestep": times}, _ids()
    ),
    "Lumina2Transformer2DModel": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 4,
            "hidden_size": 32,
            **ONE,
            "num_refiner_layers": 1,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "axes_dim_rope": AXES,
            "axes_lens": (8, 8, 8),
            "cap_feat_dim": 8,
        },
        {**CONDITIONED, **_MASKED},
    ),
    "LuminaNextDiT2DModel": Denoiser(
        {
            "sample_size": 8,
            "hidden_size": 16,
            **ONE,
            "num_attention_heads": 2,
            "num_kv_heads": 1,
            "multiple_of": 8,
            "cross_attention_dim": 8,
        },
        {**PICTURE, **TEXT, "timestep": times, "encoder_mask": ones(3)},
        {
            "image_rotary_emb": torch.ones(8, 8, 4, dtype=torch.complex64),
            "cross_attention_kwargs": {},
        },
    ),
    "MiniMaxMusic3Transformer1DModel": Denoiser(
        {
            "in_channels": 4,
            "condition_dim": 8,
            **ONE,
            **HEADS,
            "ff_inner_dim": 12,
            "rotary_dim": 4,
            "fourier_embedding_dim": 8,
        },
        {"hidden_states": normal(4, 6), "timestep": times, "encoder_hidden_states": normal(6, 8)},
    ),
    "MochiTransformer3DModel": Denoiser(
        {
            **HEADS,
            "num_layers": 2,
            "pooled_projection_dim": 8,
            "in_channels": 4,
            "text_embed_dim": 8,
            "time_embed_dim": 4,
            "max_sequence_length": 3,
        },
        {**FILMED, "encoder_attention_mask": ones(3, dtype=torch.bool)},
    ),
    "MotifVideoTransformer3DModel": Denoiser(
        {
            **{k: v for k, v in _HUNYUAN_VIDEO.items() if k != "num_refiner_layers"},
            "num_decoder_layers": 0,
        },
        FILMED,
    ),
    "NucleusMoEImageTransformer2DModel": Denoiser(
        {
            "patch_size": 2,
            "in_channels": 4,
            "out_channels": 4,
            "num_layers": 5,
            **WIDE,
            "joint_attention_dim": 8,
            "axes_dims_rope": AXES,
            "num_experts": 4,
            "moe_intermediate_dim": 12,
            "mlp_ratio": 8.0,
            "capacity_factors": 4.0,
        },
        {**TOKENS, **TEXT, "timestep": times, "encoder_hidden_states_mask": ones(3)},
        {"img_shapes": lambda n: [(1, 2, 2)] * n},
    ),
    "OmniGenTransformer2DModel": Denoiser(
        {
            "hidden_size": 16,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 24,
            **ONE,
            "pad_token_id": 0,
            "vocab_size": 37,
            "max_position_embeddings": 64,
            "original_max_position_embeddings": 64,
            "pos_embed_max_size": 8,
            "time_step_dim": 8,
            "rope_scaling": {"long_factor": [1.0] * 4, "short_factor": [1.0] * 4},
        },
        {**PICTURE, "timestep": times, "input_ids": integers(37, 3)},
        {
            "input_img_latents": lambda n: [],
            "input_image_sizes": lambda n: {},
            "attention_mask": lambda n: torch.ones(n, 20, 20, dtype=torch.long),
            "position_ids": lambda n: torch.arange(20).expand(n, -1),
        },
    ),
    "OvisImageTransformer2DModel": Denoiser(
        _flux(out_channels=4), {**TOKENS, **TEXT, "timestep": times}, _ids()
    ),
    "PRXTransformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "context_in_dim": 8,
            "hidden_size": 32,
            "num_heads": 2,
            "depth": 1,
            "axes_dim": [8, 8],
        },
        {**PICTURE, **TEXT, "timestep": times},
    ),
    "PixArtTransformer2DModel": Denoiser(
        {
            **_BASIC,
            "cross_attention_dim": 16,
            "sample_size": 8,
            "caption_channels": 8,
            "norm_num_groups": 4,
            "use_additional_conditions": False,
        },
        CONDITIONED,
        {"added_cond_kwargs": {"resolution": None, "aspect_ratio": None}},
    ),
    "PriorTransformer": Denoiser(
        {**HEADS, **ONE, "embedding_dim": 6, "num_embeddings": 3, "additional_embeddings": 4},
        {
            "hidden_states": normal(6),
            "timestep": steps,
            "proj_embedding": normal(6),
            "encoder_hidden_states": normal(3, 6),
        },
    ),
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
    "SkyReelsV2Transformer3DModel": Denoiser(_WAN, FILMED),
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
    "WanTransformer3DModel": Denoiser(_WAN, FILMED),
    "WanVACETransformer3DModel": Denoiser(
        {**_WAN, "num_layers": 2, "vace_layers": [0], "vace_in_channels": 6},
        {**FILMED, "control_hidden_states": normal(6, 2, 4, 4)},
    ),
    "BriaFibo2Transformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "dim": 32,
            "n_layers": 2,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "cap_feat_dim": 8,
            "injection_layer_ids": (1,),
            "perceiver_num_layers": 1,
            "min_num_gist_tokens": 2,
            "max_num_gist_tokens": 4,
            "gist_step": 2,
            "gist_min_text_len": 2,
            "gist_max_text_len": 8,
            "axes_dims": AXES,
            "axes_lens": (16, 8, 8),
        },
        {**PICTURE, "encoder_hidden_states": normal(2, 3, 8), "timestep": times},
    ),
    "DualTransformer2DModel": Denoiser(
        {**HEADS, "in_channels": 8, "norm_num_groups": 4, "cross_attention_dim": 8},
        {"hidden_states": normal(8, 4, 4), "encoder_hidden_states": normal(77 + 257, 8)},
    ),
    "HiDreamImageTransformer2DModel": Denoiser(
        {
            "patch_size": 2,
            "in_channels": 4,
            **WIDE,
            **TWO,
            "caption_channels": [8, 8],
            "text_emb_dim": 8,
            "axes_dims_rope": AXES,
            "max_resolution": (8, 8),
            "llama_layers": [0, 1],
            "force_inference_output": True,
        },
        {
            **PICTURE,
            "timesteps": steps,
            "encoder_hidden_states_t5": normal(3, 8),
            "pooled_embeds": normal(8),
        },
        {"encoder_hidden_states_llama3": lambda n: torch.ones(2, n, 3, 8)},
    ),
    "T5FilmDecoder": Denoiser(
        {
            "input_dims": 4,
            "targets_length": 5,
            "d_model": 16,
            "num_layers": 1,
            "num_heads": 2,
            "d_kv": 8,
            "d_ff": 12,
        },
        {"decoder_input_tokens": normal(5, 4), "decoder_noise_time": times},
        {"encodings_and_masks": lambda n: [(torch.ones(n, 3, 16), torch.ones(n, 3))]},
    ),
    "WanAnimateTransformer3DModel": Denoiser(
        {
            **_WAN,
            "in_channels": 12,
            "latent_channels": 4,
            "image_dim": 4,
            "motion_encoder_channel_sizes": {"4": 4, "8": 4, "16": 4},
            "motion_encoder_size": 16,
            "motion_style_dim": 4,
            "motion_dim": 3,
            "motion_encoder_dim": 4,
            "face_encoder_hidden_dim": 8,
            "face_encoder_num_heads": 2,
            "inject_face_latents_blocks": 1,
        },
        {
            "hidden_states": normal(12, 3, 4, 4),
            **TEXT,
            "timestep": steps,
            "encoder_hidden_states_image": normal(2, 4),
            "pose_hidden_states": normal(4, 2, 4, 4),
            "face_pixel_values": normal(3, 5, 16, 16),
        },
    ),
    "ZImageTransformer2DModel": Denoiser(
        {
            "in_channels": 4,
            "dim": 32,
            "n_layers": 1,
            "n_refiner_layers": 1,
            "n_heads": 2,
            "n_kv_heads": 2,
            "cap_feat_dim": 8,
            "axes_dims": list(AXES),
            "axes_lens": [64, 8, 8],
        },
        {"x": normal(4, 1, 4, 4), "t": times, "cap_feats": normal(3, 8)},
        lists=("x", "cap_feats"),
    ),
}

_PACKED = "packs all its tokens into one sequence of special inputs; no tiny call of it was written"

# Classes with UNet, Transformer or DiT in their names that the run leaves out, and why.
LEFT_OUT = {
    "AnyFlowFARTransformer3DModel": "its attention over chunks needs a cache made by its pipeline",
    "Cosmos3OmniTransformer": _PACKED,
    "HunyuanDiT2DMultiControlNetModel": "a list of HunyuanDiT2DControlNetModel, which is there",
    "JoyImageEditPlusTransformer3DModel": _PACKED,
    "Kandinsky3UNet": "its widths are tied to four levels of fixed kinds; none was found to run",
    "Kandinsky6SRTransformer3DModel": "its FlexAttention has no backward pass on a CPU",
    "LongCatAudioDiTVae": "an autoencoder, no denoiser",
    "MiniMaxH3Transformer3DModel": _PACKED,
    "RFD4ProteinaTransformer": "its twenty kinds of features of proteins come from its pipeline",
    "SanaWMLTX2RefinerTransformer3DModel": "its rotations come from its pipeline",
    "SanaWMTransformer3DModel": "its camera conditions come from its pipeline",
    "WanAnimate2Transformer3DModel": "needs a cache made by its pipeline",
}
