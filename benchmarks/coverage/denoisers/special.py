"""Tiny transformers of diffusers called in ways of their own: layers of text, lists, faces."""

import torch
from diffusion import Denoiser, normal, steps, times

from denoisers.shared import AXES, HEADS, PICTURE, TEXT, TWO, WAN, WIDE

SPECIAL: dict[str, Denoiser] = {
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
            **WAN,
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
