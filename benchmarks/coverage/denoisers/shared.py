"""Options and inputs that several tiny transformers of diffusers have in common."""

from typing import Any

import torch
from diffusion import normal, ones, steps
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

WAN = {
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
HUNYUAN_VIDEO = {
    "in_channels": 4,
    "out_channels": 4,
    **WIDE,
    **TWO,
    "num_refiner_layers": 1,
    "patch_size": 2,
    "text_embed_dim": 8,
    "rope_axes_dim": AXES,
}
MASKED = {"encoder_attention_mask": ones(3)}
BASIC = {**HEADS, "in_channels": 4, **ONE}


def ids(axes: int = 3) -> dict[str, Any]:
    """Positions of four patches and three words."""
    return {"img_ids": _image_ids(axes), "txt_ids": torch.zeros(3, axes)}


def _image_ids(axes: int) -> Tensor:
    places = torch.zeros(4, axes)
    places[:, axes - 2] = torch.tensor([0, 0, 1, 1])
    places[:, axes - 1] = torch.tensor([0, 1, 0, 1])
    return places


def flux(**options: Any) -> dict[str, Any]:
    kept = {"in_channels": 4, "joint_attention_dim": 8, "axes_dims_rope": AXES, **WIDE, **TWO}
    return {**kept, **options}
