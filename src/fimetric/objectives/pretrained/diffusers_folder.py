"""A folder of diffusers: which parts are in it, and each part opened by the library's own class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fimetric.libraries import library
from fimetric.objectives.pretrained.libraries import opening
from fimetric.objectives.pretrained.places import said_by
from fimetric.objectives.pretrained.weights import AGAIN, refuse_others

AUTOENCODER = "vae"  # the name of that part
INDEX, CONFIG, SCHEDULER = "model_index.json", "config.json", "scheduler_config.json"
DENOISERS = (
    "UNet2DModel",
    "UNet2DConditionModel",
    "DiTTransformer2DModel",
    "SD3Transformer2DModel",
)
FORMER = {"Transformer2DModel": "DiTTransformer2DModel"}  # as the first DiTs were saved
TEXT_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel")
TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast", "T5Tokenizer", "T5TokenizerFast")
PIPELINES = (
    *("DDPMPipeline", "DDIMPipeline", "PNDMPipeline", "DiTPipeline"),
    *("StableDiffusionPipeline", "StableDiffusion3Pipeline"),
)


def recognises(path: Path) -> bool:
    """Return whether a folder is of diffusers, told by its names and its JSON alone."""
    named = (INDEX, SCHEDULER, f"unet/{CONFIG}", f"transformer/{CONFIG}")
    return any((path / name).is_file() for name in named) or (
        "_diffusers_version" in said_by(path / CONFIG)
    )


@dataclass(frozen=True)
class Folder:
    """A pipeline, or parts of one.

    Arguments:
        path: the folder. Parts lie in folders in it or, one model and one scheduler, in itself.
        said: what the user called it.
        dtype: number format of what is opened.
    """

    path: Path
    said: str
    dtype: torch.dtype

    def parts(self) -> dict[str, str]:
        """Return name -> class of the parts, as the pipeline says, or as their folders do.

        Raises:
            ValueError: for a pipeline of another kind, and for one of somebody's own code.
        """
        index = said_by(self.path / INDEX)
        if not (self.path / INDEX).is_file():
            return self._lying_here()
        kind = index.get("_class_name")
        if kind not in PIPELINES:
            raise ValueError(
                f"{self.said} is a pipeline of the kind {kind!r}, whose loss is not known here; "
                f"known are {', '.join(PIPELINES)}, and a denoiser with its scheduler"
            )
        pairs = {name: each for name, each in index.items() if isinstance(each, list)}
        return {name: each[1] for name, each in pairs.items() if len(each) == 2 and each[1]}

    def _lying_here(self) -> dict[str, str]:
        names = ("unet", "transformer", AUTOENCODER, "scheduler")
        found = {name: self._class_of(name) for name in names if (self.path / name).is_dir()}
        if not {"unet", "transformer"} & found.keys() and (self.path / CONFIG).is_file():
            found[""] = self._class_of("")  # the model lies in the folder itself
        return found

    def _place(self, name: str) -> Path:
        inside = self.path / name
        return inside if inside.is_dir() else self.path

    def _class_of(self, name: str) -> str:
        return str(said_by(self._place(name) / CONFIG).get("_class_name"))

    def model(self, name: str, known: Sequence[str]) -> Any:
        """Return a model of diffusers of one of the classes that are known.

        Raises:
            ValueError: for another class, for weights that are missing, pickled or damaged.
        """
        import diffusers

        kind = self._class_of(name)
        kind = FORMER.get(kind, kind)
        if kind not in known:
            raise ValueError(
                f"{self._place(name)} holds {_article(kind)}, where one of {', '.join(known)} is "
                "expected; no loss of others is known here"
            )
        return self._weights(name, getattr(diffusers, kind), torch_dtype=self.dtype)

    def scheduler(self) -> Any:
        """Return the scheduler, which says what noise the model was trained with.

        Raises:
            ValueError: where there is none, or none of diffusers.
        """
        import diffusers

        place = self._place("scheduler")
        if not (place / SCHEDULER).is_file():
            raise ValueError(
                f"{self.said} has no scheduler, which says what noise its model was trained with; "
                f"save it beside the model: scheduler.save_pretrained({self.path / 'scheduler'})"
            )
        found = getattr(diffusers, str(said_by(place / SCHEDULER).get("_class_name")), None)
        kind: Any = found if isinstance(found, type) else object
        if not issubclass(kind, diffusers.SchedulerMixin):
            raise ValueError(f"{place / SCHEDULER} names no scheduler of diffusers that is here")
        with opening(str(place), AGAIN):
            return kind.from_pretrained(str(place), local_files_only=True)

    def text_encoder(self, name: str, parts: dict[str, str]) -> tuple[nn.Module, Any]:
        """Return a text encoder of transformers and its tokenizer.

        Arguments:
            name: of the encoder, such as ``text_encoder_2``.
            parts: classes by name.

        Raises:
            ValueError: where they are missing, of another class, or damaged.
            ImportError: without transformers.
        """
        words = name.replace("text_encoder", "tokenizer")
        for each, known in ((name, TEXT_ENCODERS), (words, TOKENIZERS)):
            if parts.get(each) not in known or not (self.path / each).is_dir():
                raise ValueError(
                    f"{self.said}: its model is told prompts, and {each}/ is "
                    f"{parts.get(each) or 'not there'}; save the whole pipeline, with one of "
                    f"{', '.join(known)}"
                )
        transformers = library("transformers", "fimetric[text]")
        kind = getattr(transformers, parts[name])  # whose errors do not say which tensor it is
        encoder = self._weights(name, kind, ignore_mismatched_sizes=True).to(self.dtype)
        tokenizer = getattr(transformers, parts[words])
        place = str(self.path / words)
        with opening(place, AGAIN):
            return encoder, tokenizer.from_pretrained(place, local_files_only=True)

    def _weights(self, name: str, kind: Any, **settings: Any) -> Any:
        """Return a model with its weights, all of them, from safetensors.

        Raises:
            ValueError: for weights that are missing, pickled or damaged.
        """
        place = self._place(name)
        if not any(place.glob("*.safetensors")):
            pickled = [file.name for file in place.glob("*.bin")]
            raise ValueError(
                f"{place} has no weights in safetensors"
                f"{f', but {pickled[0]}, which may run code' if pickled else ''}; save the model "
                "again by save_pretrained(folder)"
            )
        settings |= {"use_safetensors": True, "local_files_only": True, "output_loading_info": True}
        with opening(str(place), AGAIN):
            model, info = kind.from_pretrained(str(place), **settings)
        refuse_others(str(place), info, model.state_dict())
        return model.eval()


def _article(kind: str) -> str:
    return "no model of diffusers" if kind == "None" else f"a {kind}"
