"""The UNet of diffusers, as the reference models of noisy images take it."""

from typing import Any


def unet(
    shape: tuple[int, int, int],
    channels: tuple[int, ...],
    layers: int,
    groups: int,
    attention: bool,
) -> Any:
    """Return a network from images (N, C, H, W) and a time (N,) to ``sample`` (N, C, H, W).

    Arguments:
        shape: (C, H, W) of one image.
        channels: one entry per resolution, each half of the one before.
        layers: per resolution.
        groups: of every GroupNorm.
        attention: whether there is any, at the lowest resolution.

    Raises:
        ValueError: for a height or width that the resolutions do not divide, or no channels.
    """
    from diffusers import UNet2DModel  # slow to import

    C, H, W = shape
    divisor = 2 ** (len(channels) - 1)
    if not channels or H % divisor or W % divisor:
        raise ValueError(
            f"{len(channels)} resolutions need a height and width divisible by "
            f"{divisor}, got {H}x{W}; "
            "take a configuration with fewer (at least one) channels, or resize the data"
        )
    return UNet2DModel(
        sample_size=(H, W),
        in_channels=C,
        out_channels=C,
        block_out_channels=channels,
        layers_per_block=layers,
        down_block_types=("DownBlock2D",) * len(channels),
        up_block_types=("UpBlock2D",) * len(channels),
        norm_num_groups=groups,
        add_attention=attention,
        attention_head_dim=channels[-1] // 2,
    )
