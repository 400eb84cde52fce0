"""Errors against loops over frames and layers; what is learned depends on reference and seed."""

import numpy as np
import pytest
import torch

import fimetric as fm
from fimetric.data import Samples
from fimetric.models import build
from fimetric.models.log_mel import LogMel
from fimetric.objectives import standard_objective
from fimetric.statistics import AutoencoderError
from fimetric.statistics.autoencoder import RIDGE

LENGTH = 512  # eight frames, four vectors


def tones(n: int, seed: int = 0) -> torch.Tensor:
    """Return chords of two frequencies, with a little noise."""
    g = torch.Generator().manual_seed(seed)
    pitch = 200 + 600 * torch.rand(n, 2, 1, generator=g)
    time = torch.arange(float(LENGTH)) / 8000
    chords = torch.sin(2 * torch.pi * pitch * time).mean(1)
    return 0.1 * chords + 0.003 * torch.randn(n, LENGTH, generator=g)


def noise(n: int) -> torch.Tensor:
    return 0.1 * torch.randn(n, LENGTH, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="module")
def objective():
    return standard_objective(build("wavenet", "tiny", (LENGTH,)).eval())


@pytest.fixture(scope="module")
def fitted(objective):
    return AutoencoderError(objective, Samples(tones(150)), epochs=3)


def vectors(clips: torch.Tensor) -> np.ndarray:
    """Return (N, 4, 160): five frames one after the other."""
    frames = LogMel()(clips)[:, 0].numpy().astype(np.float64)
    return np.array(
        [
            [np.concatenate([clip[:, i + k] for k in range(5)]) for i in range(clip.shape[1] - 4)]
            for clip in frames
        ]
    )


def restored(network, v: np.ndarray) -> np.ndarray:
    for layer in network:
        if isinstance(layer, torch.nn.Linear):
            v = v @ layer.weight.double().numpy().T + layer.bias.double().numpy()
        elif isinstance(layer, torch.nn.ReLU):
            v = np.maximum(v, 0)
        else:
            mean, var = layer.running_mean.double().numpy(), layer.running_var.double().numpy()
            scale, shift = layer.weight.double().numpy(), layer.bias.double().numpy()
            v = (v - mean) / np.sqrt(var + layer.eps) * scale + shift
    return v


@pytest.mark.parametrize("n", [1, 6])
def test_errors_are_those_of_a_loop(fitted, n):
    network = fitted._autoencoder
    sizes = [layer.out_features for layer in network if isinstance(layer, torch.nn.Linear)]
    assert sizes == [128] * 4 + [8] + [128] * 4 + [160]
    reference = vectors(tones(150))
    shift, scale = reference.mean(), reference.std(ddof=1)
    own = ((reference - shift) / scale).reshape(-1, 160)
    errors = own - restored(network, own)
    covariance = np.cov(errors.T, bias=True)
    covariance += RIDGE * covariance.trace() / 160 * np.eye(160)
    precision = np.linalg.inv(covariance)
    expected = []
    for clip in (vectors(noise(n)) - shift) / scale:
        e = clip - restored(network, clip)
        expected.append([(e**2).mean(), np.mean([row @ precision @ row for row in e])])
    found = fitted.measure(noise(n)).numpy()
    # the network computes in float32, and a precision of some 1e4 goes with its differences
    np.testing.assert_allclose(found[:, 0], np.array(expected)[:, 0], rtol=1e-4)
    np.testing.assert_allclose(found[:, 1], np.array(expected)[:, 1], rtol=1e-2)


def test_it_learns_the_reference_and_restores_other_sounds_worse(objective, fitted):
    long = AutoencoderError(objective, Samples(tones(150)), epochs=40)
    own, other = long.measure(tones(50, seed=9)), long.measure(noise(50))
    assert own[:, 0].mean() < fitted.measure(tones(50, seed=9))[:, 0].mean()
    assert own[:, 0].mean() < 0.5  # of a variance of 1
    assert own[:, 0].max() < other[:, 0].min() and own[:, 1].max() < other[:, 1].min()


def test_what_is_learned_depends_on_reference_and_seed_alone(objective, fitted):
    x = noise(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    again = AutoencoderError(objective, Samples(tones(150)), epochs=3)
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert torch.equal(again.measure(x), fitted.measure(x))
    assert again.describe() == fitted.describe()
    for change in ({"seed": 1}, {"epochs": 2}, {"rate": 16000}):
        other = AutoencoderError(objective, Samples(tones(150)), **{"epochs": 3, **change})
        assert not torch.equal(other.measure(x), fitted.measure(x))
        assert other.describe() != fitted.describe()
    other = AutoencoderError(objective, Samples(tones(149)), epochs=3)
    assert other.describe() != fitted.describe()


def test_features_hold_losses_beside_the_errors(objective, fitted):
    found = fitted.features(noise(9), batch_size=4, progress=False)
    assert found.names == ("error", "mahalanobis") and found.values.shape == (9, 2)
    np.testing.assert_allclose(found.values, fitted.measure(noise(9)).numpy(), rtol=1e-3)
    with torch.no_grad():
        losses = objective(noise(9)).double().numpy()
    np.testing.assert_allclose(found.losses[:, 0], losses, rtol=1e-5)


def test_silence_and_a_single_clip_give_finite_errors(objective):
    for reference in (torch.zeros(3, LENGTH), tones(1)):
        found = AutoencoderError(objective, Samples(reference), epochs=1)
        assert found.measure(noise(2)).isfinite().all()
        assert found.measure(reference).isfinite().all()


def test_clips_have_their_rate(objective):
    clips = Samples(tones(20))
    clips.rate = 16000
    assert AutoencoderError(objective, clips, epochs=1).settings()["rate"] == 16000


def test_what_it_cannot_take_is_refused(objective, fitted):
    with pytest.raises(ValueError, match=r"a batch of clips is \(N, T\), not \(2, 1, 512\)"):
        fitted.measure(noise(2)[:, None])
    with pytest.raises(ValueError, match="have 4 frames, and 5 are stacked"):
        fitted.measure(noise(2)[:, :256])
    with pytest.raises(ValueError, match="1 vector of 5 frames; give more"):
        AutoencoderError(objective, Samples(tones(1)[:, :320]), epochs=1)
    with pytest.raises(ValueError, match="epochs"):
        AutoencoderError(objective, Samples(tones(5)), epochs=0)
    assert fm.statistics.AutoencoderError is AutoencoderError
