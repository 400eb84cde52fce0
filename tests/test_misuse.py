# ruff: noqa: E501 (a row of the table is a line where it can be)
"""Misuses of the Python calls, one a row: what is called, and the telling words of the sentence that the user gets.

Each message is one of ours: raised in this package, naming what came and what to do.
"""

from collections import Counter
from collections.abc import Callable
from dis import opmap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fimetric as fm
from fimetric import Detector, GradientNorms, detectors, extract, metrics, models
from fimetric.calibration import Calibration, benjamini_hochberg
from fimetric.data import Samples, Spec, batches, load
from fimetric.objectives import (
    CausalLM,
    Denoising,
    NegativeELBO,
    NegativeLogLikelihood,
    Objective,
    standard_objective,
)
from fimetric.training import train

Call = Callable[[SimpleNamespace], Any]
PACKAGE = Path(fm.__file__).parent


class Gaussian(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(4))

    def log_prob(self, x: Tensor) -> Tensor:
        return torch.distributions.Normal(self.mean, 1.0).log_prob(x).sum(1)


class Bigrams(nn.Module):
    """Tokens 0..10 at 7 positions."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.wpe = nn.Embedding(11, 11), nn.Embedding(7, 11)
        self.config = SimpleNamespace(n_positions=7, vocab_size=11)

    def get_input_embeddings(self) -> nn.Embedding:
        return self.table

    def forward(self, input_ids: Tensor, **_: object) -> object:
        places = torch.arange(input_ids.shape[1])
        return SimpleNamespace(logits=self.table(input_ids) + self.wpe(places))


class Schedule:
    alphas_cumprod = torch.linspace(0.99, 0.01, 10)


def squares(module: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: (module(x) - x).square().flatten(1).sum(1)


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What the misuses are made of: models, objectives, data, folders."""
    torch.manual_seed(0)
    net, conv, broken = nn.Linear(4, 4), nn.Conv2d(1, 1, 3, padding=1), nn.Linear(4, 4)
    broken.weight.data.fill_(torch.nan)
    x, pictures = torch.randn(40, 4), torch.rand(40, 1, 6, 6)
    tokens = torch.randint(0, 11, (40, 6))
    objective = Objective(squares(net), net)
    home = tmp_path_factory.mktemp("misuse")
    w = SimpleNamespace(
        home=home,
        net=net,
        conv=conv,
        broken=Objective(squares(broken), broken),
        x=x,
        pictures=pictures,
        tokens=tokens,
        objective=objective,
        detector=Detector(objective).fit(x),
        of_pictures=Detector(Objective(squares(conv), conv)).fit(pictures),
        of_tokens=Detector(CausalLM(Bigrams())).fit(tokens),
        features=extract(objective, x, progress=False),
        pairs=extract(objective, x, group_size=2, progress=False),
        vae=models.build("vae", "tiny", (1, 8, 8)),
        losses=squares(net)(x),
        calibration=Calibration(range(19)),
    )
    w.detector.save(home / "detector")
    w.features.save(home / "features")
    models.save(w.vae, home / "model")
    (home / "file").write_text("a file")
    return w


def in_inference_mode(call: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return call()


def made_in_inference_mode() -> Objective:
    with torch.inference_mode():
        net = nn.Linear(4, 4)
    return Objective(squares(net), net)


def on_meta() -> Objective:
    net = nn.Linear(4, 4, device="meta")
    return Objective(squares(net), net)


def of_a_wrong_shape() -> Objective:
    net = nn.Linear(4, 4)
    return Objective(lambda x: net(x).square().mean(), net)


def trained(w: SimpleNamespace, data: Any = None, **settings: Any) -> Any:
    data = torch.rand(20, 1, 8, 8) if data is None else data
    given = {"folder": w.home / "run", "steps": 1, "progress": False} | settings
    return train(w.vae, data, **given)


Row = tuple[str, str, Call, type[Exception], str]
ROWS: list[Row] = [
    ("Detector", "a model", lambda w: Detector(w.net), TypeError, "Linear, a model alone.*wrapp"),
    ("Detector", "nothing", lambda w: Detector(None), TypeError, "objective is None; pass one of"),
    ("Detector", "a class", lambda w: Detector(CausalLM), TypeError, "the class CausalLM.*made with"),
    ("Detector", "a function", lambda w: Detector(squares), TypeError, "objective is <function"),
    ("Detector", "a density's class", lambda w: Detector(w.objective, detectors.KDE), TypeError,
     r"density is the class KDE; pass one made of it, KDE\(\)"),
    ("Detector", "a misspelt density", lambda w: Detector(w.objective, "kd"), ValueError,
     "no density 'kd'; there are .*nearest-neighbours"),
    ("Detector", "a number for a density", lambda w: Detector(w.objective, 3), TypeError,
     "density must be a name or a density, not 3"),
    ("Detector", "groups of none", lambda w: Detector(w.objective, group_size=0), ValueError,
     "group_size must be at least 1, not 0"),
    ("Detector", "groups of 2.5", lambda w: Detector(w.objective, group_size=2.5), TypeError,
     "group_size must be a whole number, not 2.5"),
    ("Detector", "groups as text", lambda w: Detector(w.objective, group_size="3"), TypeError,
     "group_size must be a whole number, not '3'"),
    ("Detector", "a seed as text", lambda w: Detector(w.objective, seed="x"), TypeError,
     "seed must be a whole number, not 'x'"),
    ("Detector", "a negative seed", lambda w: Detector(w.objective, seed=-1), ValueError,
     r"seed must be from 0 to 2\^63 - 1, not -1"),
    ("Detector", "batches of none", lambda w: Detector(w.objective, batch_size=0), ValueError,
     "batch_size must be at least 1, not 0"),
    ("fit", "labels", lambda w: Detector(w.objective).fit(w.x, torch.zeros(40).long()), TypeError,
     "calibration is a vector of 40 labels.*second argument is in-distribution data"),
    ("fit", "labels as floats", lambda w: Detector(w.objective).fit(w.x, np.zeros(40)), TypeError,
     "vector of 40 labels"),
    ("fit", "labels in a list", lambda w: Detector(w.objective).fit(w.x, ["a"] * 40), TypeError,
     "vector of 40 labels"),
    ("fit", "texts", lambda w: Detector(w.objective).fit(["a b", "c"] * 20), (TypeError, ValueError),
     "str|text"),
    ("fit", "a path", lambda w: Detector(w.objective).fit("data.npy"), TypeError,
     "'data.npy' is a str; open a file or named set by fimetric.data.load"),
    ("fit", "a text", lambda w: Detector(w.objective).fit("a text"), TypeError, r"pass \[text\], to an"),
    ("fit", "nothing", lambda w: Detector(w.objective).fit(None), TypeError, "NoneType is no data"),
    ("fit", "no samples", lambda w: Detector(w.objective).fit(w.x[:0]), ValueError, "data are empty"),
    ("fit", "a number", lambda w: Detector(w.objective).fit(torch.tensor(1.0)), TypeError,
     "single number is no data; the first dimension counts"),
    ("fit", "one sample", lambda w: Detector(w.objective).fit(w.x[0]), (ValueError, RuntimeError),
     r"Linear fails on samples 0 to 3, of shape \(\).*first dimension counts samples"),
    ("fit", "three samples", lambda w: Detector(w.objective).fit(w.x[:3]), ValueError,
     "3 groups of 1 are too few"),
    ("fit", "another width", lambda w: Detector(w.objective).fit(torch.randn(40, 5)), RuntimeError,
     r"Linear fails on samples 0 to 39, of shape \(5,\) and type float32"),
    ("fit", "sound of 16 bits", lambda w: Detector(w.objective).fit(w.x.short()), RuntimeError,
     "Linear fails .* type int16.*Integers are not converted.*x / 32768"),
    ("fit", "a dictionary of integers",
     lambda w: Detector(w.objective).fit({"input_ids": w.x.long(), "weight": w.x}), (TypeError, RuntimeError),
     "gets a dictionary of input_ids, weight: pass the data alone.*Integers are not converted"),
    ("fit", "a dictionary of floats",
     lambda w: Detector(w.objective).fit({"x": w.x, "weight": w.x}), (TypeError, RuntimeError),
     r"gets a dictionary of x, weight: pass the data alone, or as 'x'\.$"),
    ("fit", "the meta device", lambda w: Detector(w.objective).fit(w.x.to("meta")), TypeError,
     "on the device 'meta', which holds no values; load the values first"),
    ("fit", "a model without numbers", lambda w: Detector(on_meta()).fit(w.x), ValueError,
     "parameter 'weight' is on the meta device.*load the weights"),
    ("fit", "inference mode",
     lambda w: in_inference_mode(lambda: Detector(w.objective).fit(w.x)), RuntimeError,
     r"inference_mode\(\) forbids them; leave it"),
    ("fit", "a model made in inference mode",
     lambda w: Detector(made_in_inference_mode()).fit(w.x), RuntimeError,
     r"parameter 'weight' was made inside torch.inference_mode.*load the model outside"),
    ("fit", "NaN", lambda w: Detector(w.objective).fit(w.x * torch.nan), ValueError,
     "sample 0 .* NaN or infinite; remove or repair"),
    ("fit", "a broken model", lambda w: Detector(w.broken).fit(w.x), ValueError,
     r"finite numbers on no sample \(sample '\d+', view 'loss': loss nan and the 19 others\); check that its weights"),
    ("fit", "one loss a batch", lambda w: Detector(of_a_wrong_shape()).fit(w.x), ValueError,
     r"one loss per sample, \(40,\); got \(\)"),
    ("fit", "tokens beyond the vocabulary",
     lambda w: Detector(CausalLM(Bigrams())).fit(w.tokens + 1), ValueError,
     r"has the token 11, where they go from 0 to 10; tokenize with the model's own"),
    ("fit", "texts beyond the positions",
     lambda w: Detector(CausalLM(Bigrams())).fit(w.tokens.repeat(1, 2)), (ValueError, RuntimeError),
     "positions for 7|Bigrams fails on samples"),
    ("fit", "data to calibrate on of another range",
     lambda w: Detector(w.of_pictures.objective).fit(w.pictures, 255 * w.pictures), ValueError,
     "x / 255 brings them there"),
    ("score", "another shape", lambda w: w.of_pictures.score(torch.rand(3, 1, 28, 28)), ValueError,
     r"\(1, 28, 28\) .*where \(1, 6, 6\) is expected"),
    ("score", "no batch dimension", lambda w: w.of_pictures.score(w.pictures[0]), ValueError,
     r"pass x\[None\], of shape \(1, 1, 6, 6\)"),
    ("score", "x * 255", lambda w: w.of_pictures.score(255 * w.pictures), ValueError,
     r"lie in \[0, 1\].*x / 255 brings them"),
    ("score", "2x - 1", lambda w: w.of_pictures.score(2 * w.pictures - 1), ValueError,
     r"lie in \[0, 1\].*x / 2 \+ 0.5 brings them"),
    ("score", "integers", lambda w: w.detector.score(w.x.long()), TypeError,
     r"integers \(int64\), where floats are expected; convert them"),
    ("score", "texts", lambda w: w.detector.score(["a text"]), (TypeError, ValueError), "str|text"),
    ("score", "inference mode", lambda w: in_inference_mode(lambda: w.detector.score(w.x)),
     RuntimeError, "leave it for this call"),
    ("score", "before fit", lambda w: Detector(w.objective).score(w.x), RuntimeError, "call fit first"),
    ("score", "features of pairs", lambda w: w.detector.score(w.pairs), ValueError,
     "another group size: 2, not 1"),
    ("score", "features of another model", lambda w: w.of_pictures.score(w.features), ValueError,
     "features come from another .* extract them again"),
    ("score", "tokens beyond the vocabulary", lambda w: w.of_tokens.score(w.tokens + 1), ValueError,
     "has the token 11, where they go from 0 to 10"),
    ("score", "floats for tokens", lambda w: w.of_tokens.score(w.tokens.float()), TypeError,
     "floats .*where tokens are expected; pass the token ids"),
    ("score", "no whole groups",
     lambda w: Detector(w.objective, group_size=3).fit(w.x).score(w.x), ValueError,
     "40 samples do not make whole groups of 3; leave out 1"),
    ("p_value", "before fit", lambda w: Detector(w.objective).p_value(w.x), RuntimeError, "call fit"),
    ("p_value", "a row", lambda w: w.detector.p_value(w.x[0]), ValueError, r"pass x\[None\]"),
    ("p_value", "more columns", lambda w: w.detector.p_value(torch.randn(3, 5)), ValueError,
     r"shape \(5,\).*where \(4,\) is expected"),
    ("p_value", "booleans", lambda w: w.detector.p_value(w.x > 0), TypeError,
     "booleans .*where floats are expected"),
    ("p_value", "nothing", lambda w: w.detector.p_value(None), TypeError, "NoneType is no data"),
    ("predict", "before fit", lambda w: Detector(w.objective).predict(w.x), RuntimeError, "call fit"),
    ("predict", "alpha 0", lambda w: w.detector.predict(w.x, alpha=0), ValueError,
     "alpha is 0; it must lie strictly between 0 and 1"),
    ("predict", "percent", lambda w: w.detector.predict(w.x, alpha=5), ValueError,
     "alpha is 5; .*between 0 and 1; 5 percent is 0.05"),
    ("predict", "text", lambda w: w.detector.predict(w.x, alpha="5%"), TypeError,
     "alpha must be a number, not '5%'"),
    ("predict", "an alpha too small", lambda w: w.detector.predict(w.x, alpha=1e-3), ValueError,
     "smallest possible p-value .*calibrate on at least 999"),
    ("predict", "a confidence in percent", lambda w: w.detector.predict(w.x, confidence=95),
     ValueError, "confidence is 95.*95 percent is 0.95"),
    ("explain", "before fit", lambda w: Detector(w.objective).explain(w.x), RuntimeError, "call fit"),
    ("explain", "a density that cannot",
     lambda w: Detector(w.objective, "one-class-svm").fit(w.x).explain(w.x), RuntimeError,
     "no sum over layers; to see layers use"),
    ("explain", "a row", lambda w: w.detector.explain(w.x[0]), ValueError, r"pass x\[None\]"),
    ("explain", "a path", lambda w: w.detector.explain("x.npy"), TypeError, "is a str; open a file or named set by"),
    ("explain", "integers", lambda w: w.detector.explain(w.x.int()), TypeError, "int32"),
    ("features", "a row", lambda w: w.detector.features(w.x[0]), ValueError, r"pass x\[None\]"),
    ("features", "a path", lambda w: w.detector.features("x.npy"), TypeError, "is a str; open a file"),
    ("features", "integers", lambda w: w.detector.features(w.x.int()), TypeError, "int32"),
    ("features", "infinity", lambda w: w.detector.features(w.x / 0), ValueError, "NaN or infinite"),
    ("features", "2x - 1", lambda w: w.of_pictures.features(2 * w.pictures - 1), ValueError,
     r"x / 2 \+ 0.5 brings them"),
    ("recalibrate", "before fit", lambda w: Detector(w.objective).recalibrate(w.x), RuntimeError,
     "call fit first"),
    ("recalibrate", "a row", lambda w: w.detector.recalibrate(w.x[0]), ValueError, r"pass x\[None\]"),
    ("recalibrate", "x * 255", lambda w: w.of_pictures.recalibrate(255 * w.pictures), ValueError,
     "x / 255"),
    ("recalibrate", "nothing", lambda w: w.detector.recalibrate(None), TypeError, "is no data"),
    ("recalibrate", "features of pairs", lambda w: w.detector.recalibrate(w.pairs), ValueError,
     "another group size"),
    ("save", "before fit", lambda w: Detector(w.objective).save(w.home / "new"), RuntimeError,
     "call fit first"),
    ("save", "a folder that exists", lambda w: w.detector.save(w.home / "features"),
     FileExistsError, "exists already; pass overwrite=True"),
    ("save", "a file", lambda w: w.detector.save(w.home / "file", overwrite=True), ValueError,
     "is a file; name a folder"),
    ("save", "below a file", lambda w: w.detector.save(w.home / "file" / "new"), ValueError,
     "is a file; name a folder"),
    ("save", "nothing", lambda w: w.detector.save(None), TypeError, "folder must be a path, not None"),
    ("load", "a missing folder", lambda w: Detector.load(w.home / "no", w.objective),
     FileNotFoundError, "there is no such folder"),
    ("load", "a file", lambda w: Detector.load(w.home / "file", w.objective), FileNotFoundError,
     "it is a file, and a detector is a folder"),
    ("load", "a model", lambda w: Detector.load(w.home / "model", w.objective), FileNotFoundError,
     "holds no detector.*it is a model: fimetric.models.load"),
    ("load", "features", lambda w: Detector.load(w.home / "features", w.objective),
     FileNotFoundError, "holds no detector.*it is a table of features: fimetric.Features.load"),
    ("load", "a model for an objective", lambda w: Detector.load(w.home / "detector", w.net),
     TypeError, "a model alone"),
    ("load", "another objective",
     lambda w: Detector.load(w.home / "detector", w.of_pictures.objective), ValueError,
     "fitted with another"),
    ("load", "nothing", lambda w: Detector.load(None, w.objective), TypeError, "must be a path"),
    ("extract", "a model", lambda w: extract(w.net, w.x), TypeError, "a model alone"),
    ("extract", "batches of none", lambda w: extract(w.objective, w.x, batch_size=0), ValueError,
     "batch_size must be at least 1"),
    ("extract", "batches as text", lambda w: extract(w.objective, w.x, batch_size="64"), TypeError,
     "batch_size must be a whole number, not '64'"),
    ("extract", "groups of -1", lambda w: extract(w.objective, w.x, group_size=-1), ValueError,
     "group_size must be at least 1"),
    ("extract", "groups of too many", lambda w: extract(w.objective, w.x, group_size=50), ValueError,
     "40 samples, not one whole group of 50"),
    ("extract", "a number for a folder", lambda w: extract(w.objective, w.x, folder=3), TypeError,
     "folder must be a path, not 3"),
    ("extract", "a folder of a model", lambda w: extract(w.objective, w.x, folder=w.home / "model"),
     FileExistsError, "holds no features of an earlier extraction; choose another"),
    ("extract", "inference mode", lambda w: in_inference_mode(lambda: extract(w.objective, w.x)),
     RuntimeError, "leave it for this call"),
    ("GradientNorms", "nothing", lambda w: GradientNorms(None), TypeError, "pass a module or .*None"),
    ("GradientNorms", "a class", lambda w: GradientNorms(nn.Linear), TypeError, "the class Linear"),
    ("GradientNorms", "losses", lambda w: GradientNorms(w.losses), TypeError, "Tensor of shape"),
    ("GradientNorms", "a dictionary", lambda w: GradientNorms(dict(w.net.named_parameters())),
     TypeError, "pass a module or"),
    ("GradientNorms", "no tensors", lambda w: GradientNorms([("a", 3)]), TypeError, "pass a module"),
    ("GradientNorms", "a frozen model",
     lambda w: GradientNorms(nn.Linear(2, 2).requires_grad_(False)), ValueError, "no trainable"),
    ("GradientNorms()", "the mean", lambda w: GradientNorms(w.net)(w.losses.mean()), ValueError,
     r"a tensor \(N,\), one number per sample; got \(\)"),
    ("GradientNorms()", "a loss a pixel", lambda w: GradientNorms(w.net)(w.net(w.x)), ValueError,
     r"one number per sample; got \(40, 4\)"),
    ("GradientNorms()", "no graph", lambda w: GradientNorms(w.net)(w.losses.detach()), ValueError,
     "losses have no graph"),
    ("GradientNorms()", "an array", lambda w: GradientNorms(w.net)(np.zeros(3)), ValueError, "ndarray"),
    ("GradientNorms()", "another model", lambda w: GradientNorms(w.conv)(w.losses), ValueError,
     "use none of the parameters"),
    ("GradientNorms()", "twice", lambda w: twice(GradientNorms(w.net), squares(w.net)(w.x)),
     RuntimeError, "read a second time; compute.*retain_graph=True"),
    ("project", "no numbers", lambda w: GradientNorms(w.net).project(w.losses, 0, 0), ValueError,
     "k must be at least 1, not 0"),
    ("project", "half a number", lambda w: GradientNorms(w.net).project(w.losses, 2.5, 0), TypeError,
     "k must be a whole number, not 2.5"),
    ("project", "no seed", lambda w: GradientNorms(w.net).project(w.losses, 2, None), TypeError,
     "seed must be a whole number, not None"),
    ("project", "a negative seed", lambda w: GradientNorms(w.net).project(w.losses, 2, -1), ValueError,
     "seed must be from 0"),
    ("project", "an array", lambda w: GradientNorms(w.net).project(np.zeros(3), 2, 0), ValueError,
     "ndarray"),
    ("GradientNorms()", "an array, by position",
     lambda w: GradientNorms(w.net).by_position(np.zeros(3)), ValueError, "ndarray"),
    ("accumulate", "no windows", lambda w: GradientNorms(w.net).accumulate([]), ValueError,
     "there is no window"),
    ("accumulate", "other samples",
     lambda w: GradientNorms(w.net).accumulate(squares(w.net)(x) for x in (w.x, w.x[:3])),
     ValueError, r"each of the \d+ samples of the first.*got 3"),
    ("accumulate", "arrays", lambda w: GradientNorms(w.net).accumulate([np.zeros(3)]), ValueError,
     "ndarray"),
    ("accumulate", "no graph", lambda w: GradientNorms(w.net).accumulate([torch.zeros(3)]),
     ValueError, "no graph"),
    ("accumulate", "one tensor", lambda w: GradientNorms(w.net).accumulate(w.losses), ValueError,
     r"\(N,\)"),
    ("Features", "rows that are not there", lambda w: w.features.select(100), IndexError,
     "no such rows in a table of 40"),
    ("Features", "a mask of another length", lambda w: w.features.select([True] * 3), IndexError,
     "no such rows in a table of 40"),
    ("Features", "groups of none", lambda w: w.features.grouped(0), ValueError, "at least 1"),
    ("Features", "groups of groups", lambda w: w.pairs.grouped(2), ValueError, "groups of 2 already"),
    ("Features", "an unknown column", lambda w: w.features.columns(["a"]), ValueError, "no column 'a'"),
    ("Features", "a column alone", lambda w: w.features.columns("weight"), TypeError,
     "names must be a list"),
    ("Features", "no parts", lambda w: fm.Features.concatenate([]), ValueError, "nothing to concat"),
    ("Features", "something else", lambda w: fm.Features.concatenate([w.features, 3]), TypeError,
     "part 1 is no Features but 3"),
    ("Features", "parts that differ", lambda w: fm.Features.concatenate([w.features, w.pairs]),
     ValueError, "cannot concatenate: group_size of part 1 differs"),
    ("Features.load", "a missing folder", lambda w: fm.Features.load(w.home / "no"), ValueError,
     "there is no such folder"),
    ("Features.load", "a model", lambda w: fm.Features.load(w.home / "model"), ValueError,
     "no saved Features.*it is a model"),
    ("Features.load", "a detector", lambda w: fm.Features.load(w.home / "detector"), ValueError,
     "no saved Features.*it is a detector"),
    ("Features.load", "a file", lambda w: fm.Features.load(w.home / "file"), ValueError, "is a file"),
    ("Features.load", "nothing", lambda w: fm.Features.load(None), TypeError, "must be a path"),
    ("Objective", "swapped", lambda w: Objective(w.net, squares(w.net)), TypeError,
     "model of Objective must be a torch.nn.Module.* not <function"),
    ("Objective", "a number", lambda w: Objective(squares(w.net), 3), TypeError, "Module.* not 3"),
    ("Objective", "a class", lambda w: Objective(squares(w.net), nn.Linear), TypeError, "class Linear"),
    ("Objective", "no function", lambda w: Objective(3, w.net), TypeError, "function must be callable"),
    ("Objective", "a seed as text", lambda w: Objective(squares(w.net), w.net, "x"), TypeError,
     "seed must be a whole number"),
    ("Denoising", "no scheduler", lambda w: Denoising(w.conv, None), ValueError, "no alphas_cumprod"),
    ("Denoising", "swapped", lambda w: Denoising(Schedule(), w.conv), TypeError, "Module"),
    ("Denoising", "one timestep", lambda w: Denoising(w.conv, Schedule(), timesteps=3), TypeError,
     r"timesteps must be a list, such as \(0, 50, 300\), not 3"),
    ("Denoising", "timesteps as text", lambda w: Denoising(w.conv, Schedule(), "03"), TypeError,
     "timesteps must be a list"),
    ("Denoising", "a fraction", lambda w: Denoising(w.conv, Schedule(), (0.5,)), TypeError,
     "a timestep must be a whole number, not 0.5"),
    ("Denoising", "beyond the schedule", lambda w: Denoising(w.conv, Schedule(), (10,)), ValueError,
     r"different indices from 0 to 9; got \(10,\)"),
    ("Denoising", "no draws", lambda w: Denoising(w.conv, Schedule(), draws=0), ValueError, "draws"),
    ("Denoising", "an unknown loss", lambda w: Denoising(w.conv, Schedule(), loss="mse"), ValueError,
     "loss must be 'l1' or 'l2'"),
    ("Denoising", "another range",
     lambda w: Detector(Denoising(w.conv, Schedule())).fit(2 * w.pictures - 1), ValueError,
     r"lie in \[0, 1\]"),
    ("NegativeLogLikelihood", "nothing", lambda w: NegativeLogLikelihood(None), TypeError, "not None"),
    ("NegativeLogLikelihood", "one level", lambda w: NegativeLogLikelihood(Gaussian(), levels=1),
     ValueError, "levels must be at least 2"),
    ("NegativeLogLikelihood", "levels as text",
     lambda w: NegativeLogLikelihood(Gaussian(), levels="256"), TypeError, "levels must be a whole"),
    ("NegativeLogLikelihood", "a number as context",
     lambda w: NegativeLogLikelihood(Gaussian(), context=3), TypeError, "context must be a tensor"),
    ("NegativeLogLikelihood", "a context that is not there",
     lambda w: Detector(NegativeLogLikelihood(Gaussian(), "y")).fit(w.x), ValueError,
     "no entry 'y', named as the context"),
    ("NegativeLogLikelihood", "no density",
     lambda w: Detector(NegativeLogLikelihood(w.net)).fit(w.x), TypeError,
     r"Linear has no log_prob\(x\)"),
    ("NegativeLogLikelihood", "another range",
     lambda w: Detector(NegativeLogLikelihood(Gaussian(), levels=256)).fit(w.x), ValueError,
     r"lie in \[0, 1\]"),
    ("NegativeELBO", "nothing", lambda w: NegativeELBO(None), TypeError, "Module"),
    ("NegativeELBO", "no bound", lambda w: NegativeELBO(w.net, (4,)), TypeError, "has no elbo"),
    ("NegativeELBO", "no draws", lambda w: NegativeELBO(w.vae, draws=0), ValueError, "draws must be"),
    ("NegativeELBO", "half a draw", lambda w: NegativeELBO(w.vae, draws=0.5), TypeError, "draws must"),
    ("NegativeELBO", "a side", lambda w: NegativeELBO(w.vae, 4), TypeError, "latent_shape must be a li"),
    ("CausalLM", "nothing", lambda w: CausalLM(None), TypeError, "model of CausalLM must be"),
    ("CausalLM", "a name", lambda w: CausalLM("gpt2"), TypeError, "Module.* not 'gpt2'"),
    ("CausalLM", "a class", lambda w: CausalLM(Bigrams), TypeError, "the class Bigrams"),
    ("CausalLM", "other entries", lambda w: w.of_tokens.score({"tokens": w.tokens, "n": w.tokens}),
     ValueError, "besides the data|be told|of the text"),
    ("CausalLM", "another model", lambda w: Detector(CausalLM(w.net)).fit(w.tokens),
     (TypeError, RuntimeError), "Linear fails on samples"),
    ("standard_objective", "another model", lambda w: standard_objective(w.net), TypeError,
     "no reference model; build its objective yourself"),
    ("standard_objective", "nothing", lambda w: standard_objective(None), TypeError, "NoneType is no"),
    ("standard_objective", "a class", lambda w: standard_objective(models.VAE), TypeError, "is no ref"),
    ("standard_objective", "no draws", lambda w: standard_objective(w.vae, draws=0), ValueError, "dra"),
    ("standard_objective", "a seed as text", lambda w: standard_objective(w.vae, seed="x"), TypeError,
     "seed must be"),
    ("data.load", "nothing", lambda w: load(None), TypeError, "source must be a path, not None"),
    ("data.load", "a tensor", lambda w: load(w.x), TypeError, "a Tensor of shape"),
    ("data.load", "a missing file", lambda w: load("no-such.png"), FileNotFoundError, "no-such.png"),
    ("data.load", "a pickle", lambda w: load("model.pt"), ValueError, "pickle by its name"),
    ("data.load", "no samples", lambda w: load("digits", limit=0), ValueError, "limit must be"),
    ("data.load", "a limit as text", lambda w: load("digits", limit="3"), TypeError, "limit must be"),
    ("data.load", "an unknown split", lambda w: load("digits", "dev"), ValueError, "no split 'dev'"),
    ("data.load", "a size as text", lambda w: load("digits", size="8"), TypeError, "size must be"),
    ("data.load", "two channels", lambda w: load("digits", channels=2), ValueError, "1 .*or 3"),
    ("Samples", "an array", lambda w: Samples(np.zeros((3, 1))), TypeError, "must be a tensor"),
    ("Samples", "a list", lambda w: Samples([1, 2]), TypeError, r"must be a tensor, not \[1, 2\]"),
    ("Samples", "integers", lambda w: Samples(torch.zeros(3, 1).long()), TypeError, "give uint8"),
    ("Samples", "none", lambda w: Samples(torch.zeros(0, 1)), ValueError, "is empty"),
    ("Samples", "ids for others", lambda w: Samples(w.x, ["a"]), ValueError, "40 samples but 1 ids"),
    ("batches", "a path", lambda w: list(batches("x", 3)), TypeError, "is a str; open a file"),
    ("batches", "nothing", lambda w: list(batches(None, 3)), TypeError, "NoneType is no data"),
    ("batches", "of none", lambda w: list(batches(w.x, 0)), ValueError, "batch_size must be at least"),
    ("batches", "a size as text", lambda w: list(batches(w.x, "3")), TypeError, "batch_size must be"),
    ("batches", "NaN", lambda w: list(batches(w.x * torch.nan, 3)), ValueError, "NaN or infinite"),
    ("Spec", "text", lambda w: Spec.of("x"), TypeError, "str is no batch"),
    ("Spec", "nothing", lambda w: Spec.of(w.x).check(None), TypeError, "NoneType is no batch"),
    ("Spec", "a number", lambda w: Spec.of(torch.tensor(1.0)), ValueError, "single number"),
    ("Spec", "an array of text", lambda w: Spec.of(np.array(["a"])), TypeError, "ndarray is no batch"),
    ("Spec", "batches that differ", lambda w: Spec.of(w.x, w.tokens), ValueError, "differ in kind"),
    ("models.build", "an unknown kind", lambda w: models.build("gan", "tiny", (1, 8, 8)), ValueError,
     "unknown kind of model 'gan'; known are vae, glow"),
    ("models.build", "an unknown size", lambda w: models.build("vae", "huge", (1, 8, 8)), ValueError,
     "unknown VAE configuration 'huge'; known are tiny"),
    ("models.build", "two sides", lambda w: models.build("vae", "tiny", (8, 8)), ValueError,
     r"shape must be \(channels, height, width\)"),
    ("models.build", "one side", lambda w: models.build("vae", "tiny", 8), TypeError, "must be a list"),
    ("models.build", "sides as text", lambda w: models.build("vae", "tiny", "188"), TypeError,
     "shape must be a list"),
    ("models.build", "an unknown setting", lambda w: models.build("vae", {"a": 1}, (1, 8, 8)),
     ValueError, "VAE has no setting 'a'; there are channels"),
    ("models.build", "a setting as text", lambda w: models.build("vae", {"latent": "x"}, (1, 8, 8)),
     ValueError, "VAE|latent"),
    ("models.build", "a seed as text", lambda w: models.build("vae", "tiny", (1, 8, 8), "x"), TypeError,
     "seed must be a whole number"),
    ("models.load", "a missing folder", lambda w: models.load(w.home / "no"), FileNotFoundError,
     "config.json|no such folder"),
    ("models.load", "a detector", lambda w: models.load(w.home / "detector"), FileNotFoundError,
     "holds no config.json"),
    ("models.load", "a file", lambda w: models.load(w.home / "file"), ValueError, "is a file; a model"),
    ("models.load", "nothing", lambda w: models.load(None), TypeError, "must be a path"),
    ("models.load", "a model", lambda w: models.load(w.vae), TypeError, "folder must be a path"),
    ("models.save", "another model", lambda w: models.save(w.net, w.home / "new"), TypeError,
     "no reference model"),
    ("models.save", "a folder that exists", lambda w: models.save(w.vae, w.home / "model"),
     FileExistsError, "overwrite=True"),
    ("models.save", "a file", lambda w: models.save(w.vae, w.home / "file", True), ValueError, "file;"),
    ("models.save", "nothing", lambda w: models.save(w.vae, None), TypeError, "must be a path"),
    ("models.save", "swapped", lambda w: models.save(w.home, w.vae), TypeError, "no reference model"),
    ("train", "another model", lambda w: train(w.net, w.pictures, w.home / "new", steps=1), TypeError,
     "no reference model"),
    ("train", "no steps", lambda w: trained(w, steps=0), ValueError, "steps must be at least 1"),
    ("train", "steps as text", lambda w: trained(w, steps="1"), TypeError, "steps must be a whole"),
    ("train", "another shape", lambda w: trained(w, w.pictures), ValueError, "the model takes"),
    ("train", "2x - 1", lambda w: trained(w, 2 * torch.rand(20, 1, 8, 8) - 1), ValueError,
     r"lie in \[0, 1\]"),
    ("train", "integers", lambda w: trained(w, torch.zeros(20, 1, 8, 8).long()), TypeError, "uint8"),
    ("train", "one sample", lambda w: trained(w, torch.rand(1, 1, 8, 8)), ValueError, "needs 2"),
    ("train", "a path", lambda w: trained(w, "digits"), TypeError, "is a str; open a file"),
    ("train", "a negative rate", lambda w: trained(w, lr=-1), ValueError, "lr .*must be positive"),
    ("train", "a rate as text", lambda w: trained(w, lr="x"), TypeError, "lr must be a number"),
    ("train", "another optimiser", lambda w: trained(w, optimiser="sgd"), ValueError, "'adamw' or"),
    ("train", "batches of 2.5", lambda w: trained(w, batch_size=2.5), TypeError, "batch_size must be"),
    ("train", "no such device", lambda w: trained(w, device="tpu"), ValueError, "no device 'tpu' here"),
    ("train", "a file", lambda w: trained(w, folder=w.home / "file"), ValueError, "is a file; name"),
    ("Calibration", "none", lambda w: Calibration([]), ValueError, "no calibration scores"),
    ("Calibration", "nan", lambda w: Calibration([1, np.nan]), ValueError, "hold nan, at index 1"),
    ("Calibration", "a table", lambda w: Calibration([[1, 2]]), ValueError, r"shape \(1, 2\)"),
    ("Calibration", "text", lambda w: Calibration(["a"]), TypeError, "scores must be numbers"),
    ("Calibration", "nothing", lambda w: Calibration(None), (TypeError, ValueError), "scores"),
    ("Calibration.p_value", "a number", lambda w: w.calibration.p_value(3), ValueError, "one dimension"),
    ("Calibration.p_value", "nan", lambda w: w.calibration.p_value([np.nan]), ValueError, "hold nan"),
    ("Calibration.p_value", "text", lambda w: w.calibration.p_value(["a"]), TypeError, "be numbers"),
    ("Calibration.p_value", "a table", lambda w: w.calibration.p_value([[1]]), ValueError, "one dim"),
    ("Calibration.p_value", "ragged", lambda w: w.calibration.p_value([[1], [1, 2]]), TypeError,
     "scores must be numbers"),
    ("Calibration.reject", "percent", lambda w: w.calibration.reject([1], 5), ValueError, "5 percent"),
    ("Calibration.reject", "alpha 0", lambda w: w.calibration.reject([1], 0), ValueError, "strictly"),
    ("Calibration.reject", "nothing", lambda w: w.calibration.reject([1], None), TypeError, "number"),
    ("Calibration.reject", "too small", lambda w: w.calibration.reject([1], 0.01), ValueError,
     "calibrate on at least 99"),
    ("Calibration.reject", "too sure", lambda w: w.calibration.reject([1], 0.05, 0.999), ValueError,
     "too few to keep the false-alarm rate"),
    ("benjamini_hochberg", "scores", lambda w: benjamini_hochberg([2.0], 0.1), ValueError,
     r"lie in \[0, 1\]; pass p_value"),
    ("benjamini_hochberg", "nan", lambda w: benjamini_hochberg([np.nan], 0.1), ValueError, "hold nan"),
    ("benjamini_hochberg", "text", lambda w: benjamini_hochberg(["a"], 0.1), TypeError, "be numbers"),
    ("benjamini_hochberg", "percent", lambda w: benjamini_hochberg([0.2], 10), ValueError, "is 0.1"),
    ("benjamini_hochberg", "a table", lambda w: benjamini_hochberg([[0.2]], 0.1), ValueError, "one dim"),
    ("auroc", "none", lambda w: metrics.auroc([], [1]), ValueError, r"ID scores .*n >= 1"),
    ("auroc", "nan", lambda w: metrics.auroc([1], [np.nan]), ValueError, "OOD scores hold nan"),
    ("auroc", "text", lambda w: metrics.auroc(["a"], [1]), TypeError, "ID scores must be numbers"),
    ("auroc", "a number", lambda w: metrics.auroc(1, [1]), ValueError, "ID scores have shape"),
    ("auroc", "nothing", lambda w: metrics.auroc([1], {}), TypeError, "OOD scores must be numbers"),
    ("aupr", "none", lambda w: metrics.aupr([1], []), ValueError, "OOD scores have shape"),
    ("aupr", "nan", lambda w: metrics.aupr([np.nan], [1]), ValueError, "ID scores hold nan"),
    ("aupr", "text", lambda w: metrics.aupr([1], ["a"]), TypeError, "OOD scores must be numbers"),
    ("aupr", "a table", lambda w: metrics.aupr([[1]], [1]), ValueError, "ID scores have shape"),
    ("aupr", "a mapping", lambda w: metrics.aupr({}, [1]), TypeError, "ID scores must be numbers"),
    ("fpr_at_tpr", "percent", lambda w: metrics.fpr_at_tpr([1], [1], 95), ValueError, "tpr is 95"),
    ("fpr_at_tpr", "zero", lambda w: metrics.fpr_at_tpr([1], [1], 0), ValueError, "tpr is 0"),
    ("fpr_at_tpr", "text", lambda w: metrics.fpr_at_tpr([1], [1], "x"), TypeError, "tpr must be"),
    ("fpr_at_tpr", "none", lambda w: metrics.fpr_at_tpr([], [1]), ValueError, "ID scores"),
    ("fpr_at_tpr", "nan", lambda w: metrics.fpr_at_tpr([1], [np.nan]), ValueError, "hold nan"),
    ("bootstrap", "a name", lambda w: metrics.bootstrap("auroc", [1], [1]), TypeError, "a function such"),
    ("bootstrap", "percent", lambda w: metrics.bootstrap(metrics.auroc, [1], [1], level=95), ValueError,
     "level=95 must lie in"),
    ("bootstrap", "no repeats", lambda w: metrics.bootstrap(metrics.auroc, [1], [1], repeats=0),
     ValueError, "repeats=0 be at least 1"),
    ("bootstrap", "half", lambda w: metrics.bootstrap(metrics.auroc, [1], [1], repeats=2.5), TypeError,
     "repeats must be a whole number"),
    ("bootstrap", "a seed as text", lambda w: metrics.bootstrap(metrics.auroc, [1], [1], seed="x"),
     TypeError, "seed must be a whole number"),
    ("estimate", "a name", lambda w: metrics.estimate("auroc", [1], [1]), TypeError, "a function such"),
    ("estimate", "percent", lambda w: metrics.estimate(metrics.auroc, [1], [1], level=95), ValueError,
     "level=95"),
    ("estimate", "none", lambda w: metrics.estimate(metrics.auroc, [], [1]), ValueError, "ID scores"),
    ("estimate", "text", lambda w: metrics.estimate(metrics.auroc, ["a"], [1]), TypeError, "be numbers"),
    ("estimate", "nan", lambda w: metrics.estimate(metrics.auroc, [1], [np.nan]), ValueError, "nan"),
    ("detectors.create", "a misspelt name", lambda w: detectors.create("x"), ValueError, "no density 'x'"),
    ("detectors.create", "nothing", lambda w: detectors.create(None), TypeError, "not None; the names"),
    ("detectors.create", "a list", lambda w: detectors.create(["kde"]), TypeError, "must be a name"),
    ("detectors.create", "a class", lambda w: detectors.create(detectors.KDE), TypeError, "class KDE"),
    ("detectors.create", "nothing at all", lambda w: detectors.create(""), ValueError, "no density ''"),
]  # fmt: skip


def twice(norms: GradientNorms, losses: Tensor) -> None:
    norms(losses)
    norms(losses)


@pytest.mark.filterwarnings("ignore:TypedStorage")
@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [row[2:] for row in ROWS],
    ids=[f"{verb}-{what}" for verb, what, *_ in ROWS],
)
def test_a_misuse_is_told_in_a_sentence_of_ours(w, call, kind, message):
    with pytest.raises(kind, match=f"(?s){message}") as caught:
        call(w)
    trace = caught.tb
    while trace.tb_next:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    assert PACKAGE in Path(code.co_filename).parents, "raised elsewhere"
    assert code.co_code[trace.tb_lasti] == opmap["RAISE_VARARGS"], "raised by a call, not by us"


def test_every_verb_has_five_kinds_of_misuse():
    few = {verb: n for verb, n in Counter(row[0] for row in ROWS).items() if n < 5}
    assert not few
