"""Tiny models of diffusers with random weights, saved as the library saves them."""

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

WIDTH, LONGEST = 8, 12
LETTERS = [chr(97 + i) for i in range(26)]
TOKENS = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{each}</w>" for each in LETTERS)]
BLOCKS = {"layers_per_block": 1, "norm_num_groups": 4}
STEPS = 100


def seeded(make, **settings) -> nn.Module:
    """Return a model with large random weights, so that every fault shows."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make(**settings).eval()
        with torch.no_grad():
            for p in model.parameters():
                p += 0.1 * torch.randn_like(p)
    return model


def unet(size: int = 8, **settings) -> nn.Module:
    return seeded(
        UNet2DModel,
        **{
            "sample_size": size,
            "block_out_channels": (WIDTH,),
            "down_block_types": ("DownBlock2D",),
            "up_block_types": ("UpBlock2D",),
            "add_attention": False,
            **BLOCKS,
            **settings,
        },
    )


def autoencoder(**settings) -> nn.Module:
    """Return an autoencoder of pictures (3, 16, 16) with latents (4, 8, 8)."""
    return seeded(
        AutoencoderKL,
        **{
            "block_out_channels": (WIDTH, WIDTH),
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "latent_channels": 4,
            "sample_size": 16,
            "scaling_factor": 0.7,
            "mid_block_add_attention": False,
            **BLOCKS,
            **settings,
        },
    )


def prompted_unet(**settings) -> nn.Module:
    return seeded(
        UNet2DConditionModel,
        sample_size=8,
        block_out_channels=(WIDTH,),
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        **BLOCKS,
        **settings,
    )


def clip(make=CLIPTextModel, **settings) -> nn.Module:
    config = CLIPTextConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=LONGEST,
        projection_dim=WIDTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **settings,
    )
    return seeded(make, config=config)


def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer({token: i for i, token in enumerate(TOKENS)}, [], model_max_length=LONGEST)


def t5() -> nn.Module:
    config = T5Config(
        vocab_size=40, d_model=2 * WIDTH, d_kv=4, d_ff=WIDTH, num_layers=1, num_heads=2
    )
    return seeded(T5EncoderModel, config=config)


def t5_tokenizer() -> T5Tokenizer:
    pieces = ["<pad>", "</s>", "<unk>", "\u2581", *LETTERS]
    return T5Tokenizer([(piece, -1.0) for piece in pieces], extra_ids=0)


def stable_diffusion(**settings) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=prompted_unet(**settings),
        scheduler=DDIMScheduler(num_train_timesteps=STEPS, steps_offset=1, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_3(with_t5: bool = False) -> StableDiffusion3Pipeline:
    transformer = seeded(
        SD3Transformer2DModel,
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=4,
        num_attention_heads=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=8,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=8,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS, shift=3.0),
        vae=autoencoder(shift_factor=0.3, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(CLIPTextModelWithProjection),
        tokenizer=tokenizer(),
        text_encoder_2=clip(CLIPTextModelWithProjection),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5() if with_t5 else None,
        tokenizer_3=t5_tokenizer() if with_t5 else None,
    )


def dit() -> DiTPipeline:
    transformer = seeded(
        DiTTransformer2DModel,
        num_attention_heads=2,
        attention_head_dim=4,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=4,
        num_embeds_ada_norm=5,
    )
    scheduler = DDIMScheduler(num_train_timesteps=STEPS)
    return DiTPipeline(transformer, autoencoder(), scheduler)


def pixels(**settings) -> DDPMPipeline:
    return DDPMPipeline(unet(**settings), DDPMScheduler(num_train_timesteps=STEPS))


def flow() -> DDPMPipeline:
    return DDPMPipeline(unet(), FlowMatchEulerDiscreteScheduler(num_train_timesteps=STEPS))
