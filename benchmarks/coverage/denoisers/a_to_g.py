"""Tiny transformers of diffusers, A to G."""

import torch
from diffusion import Denoiser, integers, normal, steps, times

from denoisers.shared import (
    AXES,
    BASIC,
    CONDITIONED,
    FILMED,
    HEADS,
    ONE,
    PICTURE,
    TEXT,
    TOKENS,
    VIDEO,
    WAN,
    WIDE,
    flux,
    ids,
)

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
_CLASSES = {"timestep": steps, "class_labels": integers(5)}

A_TO_G: dict[str, Denoiser] = {
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
        WAN,
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
        flux(pooled_projection_dim=8), {**TOKENS, **TEXT, "timestep": steps}, ids()
    ),
    "BriaFiboTransformer2DModel": Denoiser(
        flux(text_encoder_dim=8),
        {"hidden_states": normal(4, 4), **TEXT, "timestep": steps},
        {**ids(), "text_encoder_layers": lambda n: [torch.ones(n, 3, 8)] * 2},
    ),
    "ChromaTransformer2DModel": Denoiser(
        flux(approximator_num_channels=8, approximator_hidden_dim=8, approximator_layers=1),
        {**TOKENS, **TEXT, "timestep": times},
        ids(),
    ),
    "ChronoEditTransformer3DModel": Denoiser({**WAN, "rope_temporal_skip_len": 2}, FILMED),
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
        {**BASIC, "sample_size": 8, "num_embeds_ada_norm": 5, "norm_num_groups": 4},
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
        flux(pooled_projection_dim=8),
        {**TOKENS, **TEXT, "pooled_projections": normal(8), "timestep": times},
        ids(),
    ),
    "FluxTransformer2DModel, guidance": Denoiser(
        flux(pooled_projection_dim=8, guidance_embeds=True),
        {**TOKENS, **TEXT, "pooled_projections": normal(8), "timestep": times, "guidance": times},
        ids(),
        named="FluxTransformer2DModel",
    ),
    "Flux2Transformer2DModel": Denoiser(
        flux(axes_dims_rope=(4, 4, 4, 4), timestep_guidance_channels=8),
        {**TOKENS, **TEXT, "timestep": times, "guidance": times},
        ids(4),
    ),
    "Flux3Transformer2DModel": Denoiser(
        flux(axes_dims_rope=(4, 4, 4, 4), timestep_channels=8, cond_in_channels=4),
        {**TOKENS, **TEXT, "timestep": times},
        ids(4),
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
}
