"""Tiny UNets of diffusers."""

import torch
from diffusion import Denoiser, integers, normal, steps

from denoisers.shared import TEXT

BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
CROSS = {"cross_attention_dim": 8}
FLAT = {"sample": normal(4, 8, 8), "timestep": steps}


def _blocks(down: str, up: str, suffix: str) -> dict[str, tuple[str, str]]:
    return {
        "down_block_types": (f"DownBlock{suffix}", f"{down}{suffix}"),
        "up_block_types": (f"{up}{suffix}", f"UpBlock{suffix}"),
    }


_CROSSED = _blocks("CrossAttnDownBlock", "CrossAttnUpBlock", "2D")

UNETS: dict[str, Denoiser] = {
    "UNet1DModel": Denoiser(
        {
            "sample_size": 64,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (32, 32, 64),
            "extra_in_channels": 64,
        },
        {"sample": normal(4, 64), "timestep": steps},
    ),
    "UNet2DModel": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "attention_head_dim": 4,
            **BLOCKS,
            **_blocks("AttnDownBlock", "AttnUpBlock", "2D"),
        },
        FLAT,
    ),
    "UNet2DModel, scale and shift, classes": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 4,
            "out_channels": 4,
            "attention_head_dim": 4,
            "resnet_time_scale_shift": "scale_shift",
            "downsample_type": "resnet",
            "upsample_type": "resnet",
            "num_class_embeds": 5,
            "time_embedding_type": "fourier",
            **BLOCKS,
            **_blocks("AttnDownBlock", "AttnUpBlock", "2D"),
        },
        {**FLAT, "class_labels": integers(5)},
        named="UNet2DModel",
    ),
    "UNet2DModel, skip blocks": Denoiser(
        {
            "sample_size": 8,
            "in_channels": 3,
            "out_channels": 3,
            "attention_head_dim": 4,
            "block_out_channels": (32, 32),
            "layers_per_block": 1,
            "norm_num_groups": None,
            "time_embedding_type": "fourier",
            **_blocks("AttnSkipDownBlock", "AttnSkipUpBlock", "2D"),
            "down_block_types": ("SkipDownBlock2D", "AttnSkipDownBlock2D"),
            "up_block_types": ("AttnSkipUpBlock2D", "SkipUpBlock2D"),
        },
        {"sample": normal(3, 8, 8), "timestep": steps},
        named="UNet2DModel",
    ),
    "UNet2DConditionModel": Denoiser(
        {"sample_size": 8, "attention_head_dim": 2, **BLOCKS, **CROSS, **_CROSSED},
        {**FLAT, **TEXT},
    ),
    "UNet2DConditionModel, linear, text and time": Denoiser(
        {
            "sample_size": 8,
            "attention_head_dim": 2,
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 2 * 4 + 6,
            "transformer_layers_per_block": (1, 2),
            **BLOCKS,
            **CROSS,
            **_CROSSED,
        },
        {
            **FLAT,
            **TEXT,
            "added_cond_kwargs.text_embeds": normal(6),
            "added_cond_kwargs.time_ids": normal(2),
        },
        named="UNet2DConditionModel",
    ),
    "UNet2DConditionModel, simple cross-attention": Denoiser(
        {
            "sample_size": 8,
            "attention_head_dim": 2,
            "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
            **BLOCKS,
            **CROSS,
            **_blocks("SimpleCrossAttnDownBlock", "SimpleCrossAttnUpBlock", "2D"),
        },
        {**FLAT, **TEXT},
        named="UNet2DConditionModel",
    ),
    "AudioLDM2UNet2DConditionModel": Denoiser(
        {"sample_size": 8, "attention_head_dim": 2, **BLOCKS, **_CROSSED, **CROSS},
        {**FLAT, **TEXT},
    ),
    "UNet3DConditionModel": Denoiser(
        {
            "sample_size": 8,
            "attention_head_dim": 4,
            **BLOCKS,
            **CROSS,
            **_blocks("CrossAttnDownBlock", "CrossAttnUpBlock", "3D"),
        },
        {"sample": normal(4, 2, 8, 8), "timestep": steps, **TEXT},
    ),
    "UNetMotionModel": Denoiser(
        {
            "sample_size": 8,
            "num_attention_heads": 2,
            "motion_num_attention_heads": 2,
            "motion_max_seq_length": 4,
            **BLOCKS,
            **CROSS,
            **_blocks("CrossAttnDownBlock", "CrossAttnUpBlock", "Motion"),
        },
        {"sample": normal(4, 2, 8, 8), "timestep": steps},
        {"encoder_hidden_states": lambda n: torch.ones(2 * n, 3, 8)},
    ),
    "UNetSpatioTemporalConditionModel": Denoiser(
        {
            "sample_size": 8,
            "block_out_channels": (32, 32),
            "layers_per_block": 1,
            "num_attention_heads": 2,
            "addition_time_embed_dim": 4,
            "projection_class_embeddings_input_dim": 12,
            "num_frames": 2,
            **CROSS,
            **_blocks("CrossAttnDownBlock", "CrossAttnUpBlock", "SpatioTemporal"),
        },
        {
            "sample": normal(2, 8, 8, 8),
            "timestep": steps,
            "encoder_hidden_states": normal(1, 8),
            "added_time_ids": normal(3),
        },
    ),
    "I2VGenXLUNet": Denoiser(
        {
            "sample_size": 8,
            "attention_head_dim": 4,
            "num_attention_heads": 2,
            **BLOCKS,
            **CROSS,
            **_blocks("CrossAttnDownBlock", "CrossAttnUpBlock", "3D"),
        },
        {
            "sample": normal(4, 2, 8, 8),
            "timestep": steps,
            "fps": integers(8),
            "image_latents": normal(4, 2, 8, 8),
            "image_embeddings": normal(8),
            **TEXT,
        },
    ),
    "StableCascadeUNet": Denoiser(
        {
            "in_channels": 4,
            "out_channels": 4,
            "timestep_ratio_embedding_dim": 8,
            "conditioning_dim": 8,
            "block_out_channels": (8, 16),
            "num_attention_heads": (2, 2),
            "down_num_layers_per_block": (1, 1),
            "up_num_layers_per_block": (1, 1),
            "clip_text_in_channels": 6,
            "clip_text_pooled_in_channels": 6,
            "clip_image_in_channels": 6,
            "clip_seq": 2,
        },
        {
            "sample": normal(4, 8, 8),
            "timestep_ratio": lambda n: normal()(n).sigmoid(),
            "clip_text_pooled": normal(1, 6),
            "clip_text": normal(3, 6),
            "clip_img": normal(1, 6),
        },
    ),
    "UNetControlNetXSModel": Denoiser(
        {
            "sample_size": 8,
            "block_out_channels": (8, 16),
            "norm_num_groups": 4,
            "num_attention_heads": 2,
            "ctrl_conditioning_embedding_out_channels": (4, 8),
            "ctrl_block_out_channels": (4, 8),
            "ctrl_num_attention_heads": 2,
            "ctrl_max_norm_num_groups": 2,
            **CROSS,
            **_CROSSED,
        },
        {**FLAT, **TEXT, "controlnet_cond": normal(3, 16, 16)},
    ),
    "DreamLiteUNetModel": Denoiser(
        {
            "sample_size": 8,
            "attention_head_dim": 4,
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "norm_num_groups": 4,
            "cross_attention_dim": 8,
            "down_block_types": (
                "DreamLiteCrossAttnNoSelfAttnDownBlock2D",
                "DreamLiteCrossAttnDownBlock2D",
            ),
            "up_block_types": ("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
        },
        {**FLAT, **TEXT},
    ),
}
