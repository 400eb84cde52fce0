"""Whatever changes the losses changes the provenance, or fails it: of tables and of detectors."""

import copy
import os

import numpy as np
import pytest
import torch
import zuko
from diffusers import DDPMScheduler
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

import fimetric as fm
from fimetric.data import Samples
from fimetric.detection.scoring import write_scores
from fimetric.extraction import parts
from fimetric.fingerprint import model as fingerprint
from fimetric.models import DiffusionConfig, GlowConfig
from fimetric.objectives import (
    CausalLM,
    Denoising,
    NegativeELBO,
    NegativeLogLikelihood,
    Objective,
)
from fimetric.statistics import (
    MSMA,
    SCOPED,
    CodeLengths,
    DiffPath,
    DoseStatistics,
    EnsembleLosses,
    LatentFit,
    LikelihoodRegret,
    MultiscaleLosses,
    Reconstruction,
    WhitenedGradient,
)

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
ROWS = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
LONG = os.environ.get("FIMETRIC_CHECK") == "long"
SMALL = GlowConfig(1, 1, 4, logit=1e-4)
UNET = DiffusionConfig((8, 8), groups=4, attention=False)
TOKENS = torch.randint(0, 20, (24, 7), generator=torch.Generator().manual_seed(0))


def seeded(make):
    torch.manual_seed(0)
    return make()


class WithEncoder(Objective):
    """A denoiser in the space of an encoder, which is no part of ``module``."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(self.forward, nn.Linear(4, 4))
        self.encoder = nn.Linear(4, 4)
        self.scale = scale

    def settings(self):
        return {"scale": self.scale}

    def forward(self, batch):
        code = self.encoder(batch).detach()
        return self.scale * (self.module(code) - code).square().sum(1)


class Remembering(nn.Module):
    """A model that keeps what it last computed, as many do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 4)
        self.calls, self.last = 0, None

    def forward(self, x):
        self.calls += 1
        self.last = self.net(x)
        self.size = float(self.last.detach().abs().mean())
        return self.last


def function(which: int = 0) -> Objective:
    model = seeded(lambda: nn.Linear(4, 4))
    losses = [
        lambda x: (model(x) - x).square().sum(1),
        lambda x: (model(x) - x).abs().sum(1),
    ]
    return Objective(losses[which], model)


def remembering() -> Objective:
    model = seeded(Remembering)
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


def denoising(**settings) -> Denoising:
    scheduler = settings.pop("scheduler", None) or DDPMScheduler()
    model = seeded(lambda: fm.models.build("diffusion", UNET, (1, 4, 4))).eval()
    return Denoising(model.unet, scheduler, **settings)


def likelihood(**settings) -> NegativeLogLikelihood:
    return NegativeLogLikelihood(
        seeded(lambda: fm.models.build("glow", SMALL, (1, 4, 4))).eval(), **settings
    )


def elbo(**settings) -> NegativeELBO:
    return NegativeELBO(
        seeded(lambda: fm.models.build("vae", "tiny", (1, 4, 4))).eval(), **settings
    )


def language(**settings) -> CausalLM:
    config = GPT2Config(
        vocab_size=20,
        n_positions=16,
        n_embd=8,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
        **settings,
    )
    return CausalLM(seeded(lambda: GPT2LMHeadModel(config)).eval())


def zukos(features: int = 4) -> NegativeLogLikelihood:
    return NegativeLogLikelihood(
        seeded(lambda: zuko.flows.MAF(features, 0, transforms=1, hidden_features=[8]))
    )


def weights(objective: Objective) -> Objective:
    with torch.no_grad():
        next(objective.module.parameters()).mul_(1.01).add_(0.01)
    return objective


def change(objective: Objective, path: str, value: object) -> Objective:
    *parts, name = path.split(".")
    place = objective
    for part in parts:
        place = getattr(place, part)
    setattr(place, name, value)
    return objective


def hidden(objective: Objective) -> Objective:
    """Change what the model's code computes, which no attribute shows."""
    kind, own = type(objective.module), type(objective.module).forward
    objective.module.__class__ = type(
        kind.__name__, (kind,), {"forward": lambda s, *a, **k: _twice(own(s, *a, **k))}
    )
    return objective


def _twice(found):
    if isinstance(found, torch.Tensor):
        return 1.01 * found
    found.logits = 1.01 * found.logits
    return found


def buffer(objective: Objective) -> Objective:
    objective.module.encoder[1].running_var.mul_(1.5)
    return objective


# name -> data, the objective, and others that compute other losses
CASES = {
    "a function": (ROWS, function, [lambda: function(1), lambda: weights(function())]),
    "an encoder beside": (
        ROWS,
        lambda: seeded(WithEncoder),
        [
            lambda: seeded(lambda: WithEncoder(2.0)),
            lambda: change(seeded(WithEncoder), "encoder.weight", nn.Parameter(torch.eye(4))),
            lambda: change(seeded(WithEncoder), "scale", 3.0),
        ],
    ),
    "a model that remembers": (ROWS, remembering, [lambda: weights(remembering())]),
    "denoising": (
        IMAGES,
        denoising,
        [
            lambda: denoising(timesteps=(3,)),
            lambda: denoising(seed=1),
            lambda: denoising(draws=2),
            lambda: denoising(loss="l1"),
            lambda: denoising(centred=False),
            lambda: denoising(scheduler=DDPMScheduler(prediction_type="sample")),
            lambda: denoising(scheduler=DDPMScheduler(beta_start=0.01)),
            lambda: denoising().with_own_noise(),
            lambda: weights(denoising()),
            lambda: change(denoising(), "module.conv_norm_out.eps", 0.1),
            lambda: change(denoising(), "module.time_proj.flip_sin_to_cos", False),
        ],
    ),
    "likelihood": (
        IMAGES,
        likelihood,
        [
            lambda: likelihood(levels=256),
            lambda: weights(likelihood()),
            lambda: change(likelihood(), "module.config", GlowConfig(1, 1, 4, logit=0.01)),
        ],
    ),
    "dequantised": (
        IMAGES,
        lambda: likelihood(levels=256),
        [lambda: likelihood(levels=16), lambda: likelihood(levels=256, seed=1)],
    ),
    "bound": (
        IMAGES,
        elbo,
        [
            lambda: elbo(draws=2),
            lambda: elbo(seed=1),
            lambda: buffer(elbo()),
            lambda: weights(elbo()),
        ],
    ),
    "language": (
        TOKENS,
        language,
        [
            lambda: language(activation_function="relu"),
            lambda: language(layer_norm_epsilon=1e-2),
            lambda: hidden(language()),
            lambda: weights(language()),
        ],
    ),
    "zuko": (ROWS, zukos, [lambda: weights(zukos())]),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folder_of_another_loss_is_never_taken(tmp_path, case):
    data, make, others = CASES[case]
    table = fm.extract(make(), data, folder=tmp_path / "f", progress=False)
    again = fm.extract(make(), data, folder=tmp_path / "f", progress=False)
    np.testing.assert_array_equal(again.values, table.values)
    for other in others:
        objective = other()
        assert not torch.allclose(objective(data), make()(data)), "the case changes no loss"
        with pytest.raises(ValueError, match="f holds features made from another"):
            fm.extract(objective, data, folder=tmp_path / "f", progress=False)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("fitted_on", ["data", "features"] if LONG else ["data"])
def test_a_detector_of_another_loss_is_never_opened(tmp_path, case, fitted_on):
    data, make, others = CASES[case]
    objective = make()
    given = data if fitted_on == "data" else fm.extract(objective, data, progress=False)
    detector = fm.Detector(objective).fit(given)
    detector.save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", make())
    np.testing.assert_array_equal(again.score(data[:3]), detector.score(data[:3]))
    for other in others:
        with pytest.raises(ValueError, match="d was fitted with another"):
            fm.Detector.load(tmp_path / "d", other())
    table = fm.extract(others[-1](), data[:4], progress=False)
    for verb in (detector.score, detector.recalibrate, again.explain):
        with pytest.raises(ValueError, match="these features come from another"):
            verb(table)


def images() -> Samples:
    return Samples((255 * IMAGES).round().to(torch.uint8))


def pair(seed: int = 0) -> EnsembleLosses:
    return EnsembleLosses([elbo(), weights(elbo(seed=seed))])


STATISTICS = {
    "dose": (
        lambda: DoseStatistics(elbo(), draws=2),
        [
            lambda: DoseStatistics(elbo(), draws=3),
            lambda: DoseStatistics(elbo(seed=1), draws=2),
            lambda: DoseStatistics(weights(elbo()), draws=2),
        ],
    ),
    "regret": (
        lambda: LikelihoodRegret(elbo(), steps=2),
        [lambda: LikelihoodRegret(elbo(), steps=3), lambda: LikelihoodRegret(elbo(), 2, lr=0.1)],
    ),
    "latents": (lambda: LatentFit(likelihood()), [lambda: LatentFit(weights(likelihood()))]),
    "ensemble": (pair, [lambda: pair(1), lambda: EnsembleLosses([elbo(), elbo()])]),
    "code lengths": (lambda: CodeLengths(elbo()), [lambda: CodeLengths(weights(elbo()))]),
    "diffpath": (
        lambda: DiffPath(denoising(), steps=4),
        [lambda: DiffPath(denoising(), steps=5), lambda: DiffPath(weights(denoising()), steps=4)],
    ),
    "msma": (
        lambda: MSMA(denoising(), (10, 500)),
        [lambda: MSMA(denoising(), (10, 600)), lambda: MSMA(hidden_unet(), (10, 500))],
    ),
    "scoped": (
        lambda: SCOPED(denoising(), (10, 500)),
        [lambda: SCOPED(denoising(), (10, 500), parts=True), lambda: SCOPED(denoising(), (10,))],
    ),
    "reconstruction": (
        lambda: Reconstruction(denoising(), (10, 500), steps=2),
        [lambda: Reconstruction(denoising(), (10, 500), steps=3)],
    ),
    "whitened": (
        lambda: WhitenedGradient(elbo(), IMAGES, 0.1, progress=False),
        [
            lambda: WhitenedGradient(elbo(), IMAGES, 0.2, progress=False),
            lambda: WhitenedGradient(elbo(), IMAGES[:20], 0.1, progress=False),
        ],
    ),
    "multiscale losses": (
        lambda: MultiscaleLosses(denoising(), (10, 500)),
        [
            lambda: MultiscaleLosses(denoising(), (10, 600)),
            lambda: MultiscaleLosses(denoising(seed=2), (10, 500)),
            lambda: MultiscaleLosses(hidden_unet(), (10, 500)),
        ],
    ),
}


def hidden_unet() -> Denoising:
    objective = denoising()
    head = objective.module.conv_out
    head.__class__ = type(
        "Conv2d", (nn.Conv2d,), {"forward": lambda s, x: 1.01 * nn.Conv2d.forward(s, x)}
    )
    return objective


@pytest.mark.parametrize("case", STATISTICS)
def test_a_table_of_another_statistic_is_never_taken(tmp_path, case):
    make, others = STATISTICS[case]
    make().features(images(), folder=tmp_path / "f", progress=False)
    make().features(images(), folder=tmp_path / "f", progress=False)
    for other in others:
        with pytest.raises(ValueError, match="f holds features made from another"):
            other().features(images(), folder=tmp_path / "f", progress=False)


def test_scoring_hashes_the_model_once(tmp_path, monkeypatch):
    objective = function()
    detector = fm.Detector(objective, batch_size=64).fit(torch.randn(100, 4))
    detector.save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", objective)
    hashed = []
    own = fingerprint._of_tensors
    monkeypatch.setattr(fingerprint, "_of_tensors", lambda *a: (hashed.append(1), own(*a))[1])
    for made in (detector, again, fm.Detector.load(tmp_path / "d", function())):
        write_scores(made, torch.randn(640, 4), tmp_path / "scores.csv")
    assert len(hashed) == 1  # of the last one, which nobody has seen


def test_data_are_hashed_once_and_only_for_a_folder(tmp_path, monkeypatch):
    hashed = []
    own = parts.row_digests
    monkeypatch.setattr(parts, "row_digests", lambda b: (hashed.append(len(b)), own(b))[1])
    fm.extract(function(), ROWS, 8, progress=False)
    fm.Detector(function()).fit(ROWS).score(ROWS)
    assert hashed == []
    fm.extract(function(), ROWS, 8, folder=tmp_path / "f", progress=False)
    assert hashed == [8, 8, 8]


def test_a_resumed_extraction_asks_the_loss_again(tmp_path):
    def stopped():
        yield ROWS[:8]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fm.extract(function(), stopped(), 8, folder=tmp_path / "f", progress=False)
    with pytest.raises(ValueError, match=r"f holds features made from another objective|loss"):
        fm.extract(function(1), ROWS, 8, folder=tmp_path / "f", progress=False)


def test_a_name_stands_for_what_the_losses_are():
    model = nn.Linear(4, 4)
    one, other = (Objective(lambda x: model(x).sum(1), model, name=name) for name in ("a", "b"))
    assert one.describe() == "Objective(Linear, name='a')" != other.describe()


def test_a_subclass_with_arguments_that_it_does_not_tell_writes_nothing(tmp_path):
    class Tempered(Objective):
        def __init__(self, module, temperature=1.0):
            super().__init__(self.forward, module)
            self._temperature = temperature

        def forward(self, batch):
            return (self.module(batch) - batch).square().sum(1) / self._temperature

    objective = Tempered(nn.Linear(4, 4), 2.0)
    detector = fm.Detector(objective).fit(ROWS)
    for write in (
        lambda: detector.save(tmp_path / "d"),
        lambda: fm.extract(objective, ROWS, folder=tmp_path / "f", progress=False),
    ):
        with pytest.raises(ValueError, match=r"Tempered takes temperature, .*define settings"):
            write()
    assert not list(tmp_path.iterdir())
    objective.name = "tempered by 2"
    detector.save(tmp_path / "d")

    class Told(Tempered):
        def settings(self):
            return {"temperature": self._temperature}

    fm.Detector(Told(nn.Linear(4, 4), 2.0)).fit(ROWS).save(tmp_path / "e")


def test_a_subclass_without_a_loss_is_refused_where_it_is_made():
    class Nothing(Objective):
        def __init__(self, module):
            super().__init__(self.forward, module)

    with pytest.raises(TypeError, match=r"Nothing has no loss: define views"):
        Nothing(nn.Linear(2, 2))


@pytest.mark.parametrize("order", ["sorted", "reversed", "in small batches"])
def test_no_order_and_no_batch_size_moves_a_column(order):
    objective, data = elbo(), IMAGES
    whole = fm.extract(objective, data, 24, progress=False)
    rows = {
        "sorted": data.flatten(1).sum(1).argsort(),
        "reversed": torch.arange(24).flip(0),
        "in small batches": torch.arange(24),
    }[order]
    other = fm.extract(copy.deepcopy(objective), data[rows], 5, progress=False)
    np.testing.assert_array_equal(other.bounds, whole.bounds)
    # float32, other batches
    np.testing.assert_allclose(other.values, whole.values[rows], rtol=1e-4, atol=1e-3)
