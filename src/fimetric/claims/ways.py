"""The same data in several representations, a model trained on each, and its scores."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fimetric.data import Samples
from fimetric.detectors import LayerwiseGaussian, Typicality
from fimetric.extraction import extract
from fimetric.features.table import Features
from fimetric.fisher.representations import (
    HSV,
    ChannelAffine,
    Logit,
    Representation,
    YCbCr,
    dequantised,
)
from fimetric.judging.judge import judge
from fimetric.models import Model, build
from fimetric.models.family import family
from fimetric.objectives import standard_objective
from fimetric.store.files import safe_name
from fimetric.training import History, train
from fimetric.typing import Array

LOGIT = 0.05
CHUNK = 1024  # samples that are brought to another representation at once
LIKELIHOOD, IN_X, TYPICALITY, NORMS = (
    "likelihood",
    "likelihood in units of x",
    "typicality",
    "layerwise-gaussian",
)
SCORES = (LIKELIHOOD, IN_X, TYPICALITY, NORMS)

Scores = dict[str, dict[str, Array]]  # score -> set -> (n,)


@dataclass(frozen=True)
class Way:
    """A representation of the data and the model that is trained on it.

    Arguments:
        name: for people, and of the folder.
        representation: T.
        seed: of the model's weights and of its training.
        inside: whether the model applies T itself, to data that are left as they are; its
            likelihood is then in units of x.
        plain: whether T changes nothing.
    """

    name: str
    representation: Representation
    seed: int
    inside: bool = False
    plain: bool = False

    @torch.no_grad()
    def show(self, samples: Samples, seed: int) -> tuple[Samples, Array]:
        """Return T(x) as float samples, and log |det dT/dx| (N,), of dequantised x.

        The noise depends on the seed and on a sample's place, and is the same in every way.
        """
        generator, parts, log_dets = torch.Generator().manual_seed(seed), [], []
        for a in range(0, len(samples), CHUNK):
            x = samples.tensor(range(a, min(a + CHUNK, len(samples))))
            x = dequantised(x, 256, generator)
            changed = self.representation(x)
            parts.append((x if self.inside else changed.y).float())
            log_dets.append(changed.log_det)
        values = torch.cat(parts).clamp(0, 1)  # rounding to float32 must not leave the range
        return Samples(values, samples.ids, samples.name), torch.cat(log_dets).numpy()

    def train(
        self, data: Samples, folder: Path, kind: str, config: Any, noise: int, **settings: Any
    ) -> tuple[Model, History]:
        """Return the model trained on T(x), in ``folder``; an unfinished training goes on."""
        if self.inside:
            config = {**_as_mapping(kind, config), "logit": LOGIT}
        model = build(kind, config, data.shape, self.seed)
        shown, _ = self.show(data, noise)
        return model, train(model, shown, folder, seed=self.seed, **settings)

    def scores(
        self,
        model: Model,
        own: Samples,
        foreign: Mapping[str, Samples],
        folder: Path,
        noise: int,
        batch_size: int = 64,
    ) -> Scores:
        """Return the scores of the second half of the own samples and of all foreign ones.

        Densities are fitted on the first half, in this representation. A likelihood is a code
        length in bits per dimension; all scores: higher = more anomalous.
        """
        objective = standard_objective(model)
        found: Scores = {score: {} for score in SCORES}
        half, tables = len(own) // 2, dict[str, Features]()
        for number, (name, samples) in enumerate({own.name: own, **foreign}.items()):
            shown, log_det = self.show(samples, noise + 1 + number)
            features = extract(objective, shown, batch_size, folder=folder / safe_name(name))
            if name == own.name:
                fit = features.select(slice(half))
            test = slice(half, None) if name == own.name else slice(None)
            features = tables[name] = features.select(test)
            here, there = self._likelihoods(features, log_det[test])
            found[LIKELIHOOD][name], found[IN_X][name] = here, there
        for score, density in ((TYPICALITY, Typicality()), (NORMS, LayerwiseGaussian())):
            found[score] = judge(density, fit, tables, own.name).scores
        return found

    def _likelihoods(self, features: Features, log_det: Array) -> tuple[Array, Array]:
        """Return bits per dimension in the representation itself and in units of x."""
        bits, change = features.bits_per_dim, log_det / (features.dimensions * math.log(2))
        bits = np.nan_to_num(bits, nan=np.inf, posinf=np.inf)  # a loss that breaks down is an alarm
        return (bits + change, bits) if self.inside else (bits, bits - change)


def ways(shape: tuple[int, ...], kind: str) -> list[Way]:
    """Return the ways to show images of one shape (C, H, W): the plain one twice, then others.

    Each has a seed of its own.
    """
    colour = shape[0] == 3
    plain = "RGB" if colour else "plain"
    chosen: list[tuple[str, Representation]] = [
        (plain, ChannelAffine(1.0)),
        (f"{plain}, other seed", ChannelAffine(1.0)),
    ]
    if colour:
        chosen += [("YCbCr", YCbCr()), ("HSV", HSV(least=0.0))]
    if "logit" in {field.name for field in fields(family(kind).model.Config)}:
        chosen.append(("logit", Logit(LOGIT)))
    chosen.append(("inverted", ChannelAffine(-1.0, 1.0)))
    return [
        Way(name, transform, seed, inside=name == "logit", plain=seed < 2)
        for seed, (name, transform) in enumerate(chosen)
    ]


def _as_mapping(kind: str, config: Any) -> Mapping[str, Any]:
    """Return the settings of a model by name, whatever ``build`` takes for them."""
    if isinstance(config, Mapping):
        return config
    cls = family(kind).model
    return asdict(cls.CONFIGS[config] if isinstance(config, str) else config)
