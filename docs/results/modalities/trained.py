"""The models of the page: size, minutes of training, and code length beside a trivial model's."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

import fimetric as fm
from fimetric.benchmark.cases import Case, Sets
from fimetric.benchmark.places import model_folder
from fimetric.data import Samples
from fimetric.data.codes import simple_codes
from fimetric.evaluation.trained import code_lengths
from fimetric.models import Model, load
from fimetric.models.family import FAMILIES
from fimetric.models.wavenet import LEVELS, levels_of
from studies import Study

TESTED = 256  # own test samples
MINUTES = {
    "wikitext2-transformer": 7.0,
    "wikitext2-transformer-background": 1.6,
    "python_code-transformer": 7.6,
    "python_code-transformer-background": 2.5,
    "fsdd-wavenet": 5,
    "fsdd-spectrogram": 5,
    "fashion_mnist-flow-matching": 20,
    "cifar10-flow-matching": 10,
    "cifar10-pixelcnn": 11,
    "fashion_mnist-pixelcnn": 30,
    "tables-breast_cancer-nsf": 2.1,
    "tables-cars-nsf": 1.1,
    "tables-crabs-nsf": 1.2,
    "tables-diamonds-nsf": 1.5,
    "tables-digits-nsf": 2.9,
    "tables-glass-nsf": 1.3,
    "tables-iris-nsf": 1.1,
    "tables-job_training-nsf": 0.6,
    "tables-light_chains-nsf": 1.1,
    "tables-penguins-nsf": 1.4,
    "tables-pima-nsf": 1.5,
    "tables-schools-nsf": 1.5,
    "tables-weather-nsf": 1.0,
    "tables-wine-nsf": 1.6,
}
"""Minutes of one core that the committed trainings took, as their runs were timed."""


def models_table(studies: Sequence[Study]) -> Iterator[str]:
    """Yield a row for each model that lies in checkpoints."""
    yield "| model | weights | file, MB | minutes | bits per | model | trivial models |"
    yield "|---|---:|---:|---:|---|---:|---|"
    seen = set()
    for study in studies:
        for case in study.found.models:
            if case.trained.kind not in FAMILIES:
                continue
            beside = case.trained.background
            for folder in (model_folder(case, study.folder), *([Path(beside)] if beside else [])):
                if folder not in seen:
                    seen.add(folder)
                    yield _row(case, folder)
    yield (
        f"\nOn {TESTED} own test samples at most, with standard errors; what a model is compared "
        "with is fitted on own samples that are not tested on. Bits of densities of real numbers "
        "may be negative. "
        "Minutes: of one core.\n"
    )


def _row(case: Case, folder: Path) -> str:
    model, sets = load(folder), Sets(case)
    test = sets.parts["test"].select(range(min(TESTED, len(sets.parts["test"]))))
    bits = code_lengths(model, test, seed=0)
    trivial = ", ".join(f"{name} {x:.3f}" for name, x in _trivial(case, model, sets, test).items())
    weights = sum(p.numel() for p in model.parameters())
    size = (folder / "model.safetensors").stat().st_size / 1e6
    took = f"{MINUTES[folder.name]:.1f}" if folder.name in MINUTES else "–"
    mean, error = bits.mean(), bits.std() / math.sqrt(len(bits))
    return (
        f"| {folder.name} | {weights:,} | {size:.2f} | {took} | {model.UNIT} | "
        f"{mean:.3f} ± {error:.3f} | {trivial} |"
    )


def _trivial(case: Case, model: Model, sets: Sets, test: Samples) -> dict[str, float]:
    kind = FAMILIES[case.trained.kind].samples
    if kind == "texts":
        return simple_codes(fm.data.load(Path(case.own.data).parts[-3], "train"), test)
    if kind == "images":  # of tens of thousands that it was trained on the Gaussian takes minutes
        return simple_codes(sets.parts["fit"], test)
    train = sets.train
    if case.trained.kind == "wavenet":
        return {"histogram of levels": histogram_bits(levels_of(train.tensor()), test)}
    if case.trained.kind == "spectrogram":
        encoder = model.encoder
        with torch.no_grad():
            own, other = (encoder(x.tensor()).flatten(1) for x in (train, test))
        return {"Gaussian per bin": independent_bits(own, other)}
    rows = test.tensor().double()
    laws = gaussians(model, train.tensor())
    return {
        name: float(-law.log_prob(rows).mean() / rows.shape[1] / math.log(2))
        for name, law in laws.items()
    }


def gaussians(model: Model, train: Tensor) -> dict[str, MultivariateNormal]:
    """Return Gaussians of training rows (n, D): of all covariances, and of independent columns.

    The noise that the flow is trained with is added, without which a column of one value has no
    density.
    """
    rows = train.double()
    noise = model.step.square() / 12 + (model.config.noise * model.deviation).square()
    covariance = rows.T.cov(correction=0) + noise.double().diag()
    mean = rows.mean(0)
    return {
        "Gaussian": MultivariateNormal(mean, covariance),
        "Gaussian per column": MultivariateNormal(mean, covariance.diag().diag()),
    }


def histogram_bits(train: Tensor, test: Samples) -> float:
    """Return bits per value by how often each level comes in the training part."""
    counts = torch.bincount(train.flatten(), minlength=LEVELS).double() + 1
    return float(-(counts / counts.sum()).log2()[levels_of(test.tensor())].mean())


def independent_bits(train: Tensor, test: Tensor) -> float:
    """Return bits per value of a Gaussian for each place in x (N, D)."""
    law = torch.distributions.Normal(train.double().mean(0), train.double().std(0))
    return float(-law.log_prob(test.double()).mean() / math.log(2))
