"""What a denoiser's loss computes with and is not differentiated: encoders of pictures and words.

They are parts of the objective, so that their weights are hashed with it.
"""

import logging
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fimetric.arguments import shown, whole
from fimetric.data.rows import RowError, RowTypeError

log = logging.getLogger(__name__)
T5_TOKENS = 256  # the pipeline's own default


class Frozen(nn.Module):
    """A module without gradients, always in evaluation mode."""

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: a training objective has no random encoder."""
        return super().train(False)

    def freeze(self) -> Self:
        """Take all gradients away, and return the module."""
        return self.eval().requires_grad_(False)


class LatentMean(Frozen):
    """Creates the map from pictures to latents that a denoiser was trained on, without its noise.

        z = (mean of q(z | x) - shift) * scale

    in float32 at least, whatever the denoiser's format is.

    Arguments:
        vae: an ``AutoencoderKL`` of diffusers.

    Raises:
        ValueError: for one whose latents are shifted and scaled by channel, which is not done here.
    """

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae
        by_channel = [n for n in ("latents_mean", "latents_std") if getattr(vae.config, n, None)]
        if by_channel:
            raise ValueError(
                f"the autoencoder has {' and '.join(by_channel)}: it scales latents by channel, "
                "which no loss here does. Write the loss as a function, for Objective"
            )
        self.scale, self.shift = vae.config.scaling_factor, vae.config.shift_factor or 0.0
        self.freeze()

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Return latents (N, c, h, w) of pictures (N, C, H, W) in [-1, 1]."""
        mean = self.vae.encode(x.to(self.vae.dtype)).latent_dist.mean
        return ((mean - self.shift) * self.scale).to(x.dtype)


class Labels(Frozen):
    """Creates what a class-conditional denoiser is told of labels 0 .. classes - 1.

    Arguments:
        classes: number of them.
        nothing: the class that stands for none, where the model has one.
    """

    told: ClassVar[str] = "label"
    words: ClassVar[str] = "the null class"

    def __init__(self, classes: int, nothing: int | None = None) -> None:
        super().__init__()
        self.classes, self.nothing = classes, nothing

    def forward(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return ``class_labels`` (N,).

        Raises:
            RowTypeError: for a label that is no whole number.
            RowError: for one that is no class of the model.
        """
        found = [_label(row, value) for row, value in enumerate(values)]
        for row, label in enumerate(found):
            if not 0 <= label < self.classes:
                raise RowError(
                    [row],
                    f" is {label}, and the model knows the classes 0 to {self.classes - 1}; give "
                    "the labels that it was trained with",
                    "the label of ",
                )
        return {"class_labels": torch.tensor(found)}

    def null(self, like: Tensor) -> dict[str, Tensor]:
        """Return the null class for each of some samples (N, ...)."""
        assert self.nothing is not None  # else there would be a condition
        return {"class_labels": torch.full((len(like),), self.nothing, device=like.device)}


def _label(row: int, value: Any) -> int:
    """Return a label as it is given.

    Raises:
        RowTypeError: for what is no whole number.
    """
    try:
        return whole("a label", value, -math.inf)
    except TypeError:
        said = f" must be a whole number, not {shown(value)}"
        raise RowTypeError([row], said, "the label of ") from None


class Prompts(Frozen):
    """Creates what a denoiser is told of prompts by one text encoder, as in Stable Diffusion.

    Arguments:
        encoders: text encoders of transformers.
        tokenizers: one for each.
    """

    told: ClassVar[str] = "prompt"
    words: ClassVar[str] = "the empty prompt"

    def __init__(self, encoders: Sequence[nn.Module], tokenizers: Sequence[Any]) -> None:
        super().__init__()
        self.encoders, self.tokenizers = nn.ModuleList(encoders), list(tokenizers)
        self._told_of_cut = False
        self.freeze()

    @torch.no_grad()
    def forward(self, values: Sequence[Any]) -> dict[str, Tensor]:
        """Return the embeddings of N prompts by the denoiser's names for them, (N, ...).

        Raises:
            RowTypeError: for a prompt that is no text.
        """
        for row, value in enumerate(values):
            if not isinstance(value, str):
                raise RowTypeError([row], f" must be a text, not {shown(value)}", "the prompt of ")
        return self.embedded(list(values))

    def embedded(self, texts: list[str]) -> dict[str, Tensor]:
        """Return ``encoder_hidden_states`` (N, tokens, features)."""
        encoder = self.encoders[0]
        ids, mask = self._tokens(0, texts, self._longest(0))
        uses = getattr(encoder.config, "use_attention_mask", False)
        return {"encoder_hidden_states": encoder(ids, attention_mask=mask if uses else None)[0]}

    def null(self, like: Tensor) -> dict[str, Tensor]:
        """Return the embeddings of the empty prompt for each of some samples (N, ...)."""
        one = self([""])
        return {k: v.to(like.device).expand(len(like), *v.shape[1:]) for k, v in one.items()}

    def _longest(self, place: int) -> int:
        positions = getattr(self.encoders[place].config, "max_position_embeddings", T5_TOKENS)
        return min(self.tokenizers[place].model_max_length, positions)

    def _tokens(self, place: int, texts: list[str], longest: int) -> tuple[Tensor, Tensor]:
        """Return token ids and mask (N, longest), padded; what is cut is said once."""
        tokenizer = self.tokenizers[place]
        found = tokenizer(
            texts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt"
        )
        if not self._told_of_cut and found.attention_mask.all(1).any():  # else none is so long
            most = max(len(ids) for ids in tokenizer(texts, verbose=False).input_ids)
            if most > longest:
                self._told_of_cut = True
                log.warning(
                    "a prompt of %d tokens is cut to %d, all that the model reads; so are others",
                    most,
                    longest,
                )
        device = next(self.encoders[place].parameters()).device
        return found.input_ids.to(device), found.attention_mask.to(device)


class JointPrompts(Prompts):
    """Creates what Stable Diffusion 3 is told of prompts, by two CLIP encoders and one T5.

    Arguments:
        encoders: CLIP, CLIP and, where the model was saved with it, T5.
        tokenizers: one for each.
        width: features of a token.

    References:
        Scaling Rectified Flow Transformers for High-Resolution Image Synthesis (Esser, Kulal,
        Blattmann et al., 2024, arXiv 2403.03206)
    """

    def __init__(
        self, encoders: Sequence[nn.Module], tokenizers: Sequence[Any], width: int
    ) -> None:
        super().__init__(encoders, tokenizers)
        self.width = width

    def embedded(self, texts: list[str]) -> dict[str, Tensor]:
        """Return ``encoder_hidden_states`` (N, tokens, width), ``pooled_projections`` (N, P)."""
        longest = self._longest(0)
        clips = [
            self.encoders[i](self._tokens(i, texts, longest)[0], output_hidden_states=True)
            for i in (0, 1)
        ]
        words = torch.cat([clip.hidden_states[-2] for clip in clips], -1)
        words = F.pad(words, (0, self.width - words.shape[-1]))
        return {
            "encoder_hidden_states": torch.cat([words, self._t5(texts, words)], 1),
            "pooled_projections": torch.cat([clip[0] for clip in clips], -1),
        }

    def _t5(self, texts: list[str], like: Tensor) -> Tensor:
        if len(self.encoders) < 3:
            return like.new_zeros(len(texts), T5_TOKENS, self.width)
        return self.encoders[2](self._tokens(2, texts, T5_TOKENS)[0])[0]
