"""What a denoiser of diffusers is told besides a noisy picture: nothing, a label, or a prompt."""

import logging
from typing import Any

from fimetric.objectives.pretrained.diffusers_folder import Folder
from fimetric.objectives.pretrained.frozen import JointPrompts, Labels, Prompts

log = logging.getLogger(__name__)
MORE = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type")


def teller_of(
    folder: Folder, parts: dict[str, str], module: Any, condition: str | None
) -> Labels | Prompts | None:
    """Return what turns a condition into what a denoiser is told; None where it is told nothing.

    Where there is no condition, that the model is told its null is logged.

    Arguments:
        folder: of the model.
        parts: classes of its parts by name.
        module: the denoiser.
        condition: the column that is asked for, if any.

    Raises:
        ValueError: for a denoiser that is told something else; for a condition where it is told
            nothing; for none where it has no null.
    """
    _refuse_more(folder, module)
    if _kind(module) == "UNet2DModel" and module.config.num_class_embeds is None:
        if condition is not None:
            raise ValueError(
                f"condition={condition!r} does not concern {folder.said}, whose {_kind(module)} is "
                "told nothing but the picture; leave it out"
            )
        return None
    prompted = _kind(module) in ("UNet2DConditionModel", "SD3Transformer2DModel")
    teller = _prompts(folder, parts, module) if prompted else _labels(module)
    if condition is None:
        _tell_of_null(folder, teller)
    return teller


def _kind(module: Any) -> str:
    return type(module).__name__


def _refuse_more(folder: Folder, module: Any) -> None:
    """Refuse a UNet that is told more than one thing, or one of another kind.

    Raises:
        ValueError: naming the setting that says so.
    """
    names = {"UNet2DModel": MORE[:1], "UNet2DConditionModel": MORE}.get(_kind(module), ())
    for name in names:
        if getattr(module.config, name, None) is not None:
            raise ValueError(
                f"{folder.said}: its {_kind(module)} has {name}={getattr(module.config, name)!r}, "
                "so it is told more than a label or a prompt, which is not known here"
            )


def _labels(module: Any) -> Labels:
    if _kind(module) == "DiTTransformer2DModel":  # its table has one row more, for no class
        return Labels(module.config.num_embeds_ada_norm, module.config.num_embeds_ada_norm)
    return Labels(module.config.num_class_embeds)


def _prompts(folder: Folder, parts: dict[str, str], module: Any) -> Prompts:
    if _kind(module) == "UNet2DConditionModel":
        encoder, tokenizer = folder.text_encoder("text_encoder", parts)
        return Prompts([encoder], [tokenizer])
    names = ["text_encoder", "text_encoder_2", *(["text_encoder_3"] * ("text_encoder_3" in parts))]
    pairs = [folder.text_encoder(name, parts) for name in names]
    encoders, tokenizers = zip(*pairs, strict=True)
    return JointPrompts(encoders, tokenizers, module.config.joint_attention_dim)


def _tell_of_null(folder: Folder, teller: Labels | Prompts) -> None:
    """Log what the model is told of each sample where no condition is given.

    Raises:
        ValueError: where the model has nothing that stands for nothing.
    """
    if isinstance(teller, Labels) and teller.nothing is None:
        raise ValueError(
            f"{folder.said} is told one of {teller.classes} classes of each sample, and has none "
            f"that stands for nothing; give condition={teller.told!r}, or what the column with the "
            "classes is called"
        )
    log.warning(
        "%s is told %s of each sample; condition=%r tells it the column of that name",
        folder.said,
        teller.words,
        teller.told,
    )
