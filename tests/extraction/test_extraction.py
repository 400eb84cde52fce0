"""Features equal the plain loop's, whatever the data come in; what cannot be right is refused."""

import logging
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from fimetric import extract
from fimetric.detection import Detector
from fimetric.detectors import LayerwiseGaussian
from fimetric.gradients.reference import squared_gradient_norms
from fimetric.objectives import Objective

N, D = 22, 6
X = torch.randn(N, D, generator=torch.Generator().manual_seed(0)).double()


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, D)).double()


class Views(Objective):
    """Reconstruction at several noise levels, with draws."""

    def __init__(self, module: nn.Module, draws: int = 2) -> None:
        super().__init__(self.forward, module)
        self.draws = draws

    def views(self):
        return {
            f"t={t}/draw={k}": self._view(t + 0.1 * k) for t in (3, 5) for k in range(self.draws)
        }

    def _view(self, shift: float):
        return lambda x: (self.module(x + shift) - x).square().sum(1)


def reconstruction(model: nn.Module) -> Objective:
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


@pytest.fixture
def objective() -> Objective:
    return reconstruction(network())


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
@pytest.mark.parametrize("group_size", [1, 5])
def test_values_are_the_logarithms_of_the_plain_loop(objective, group_size, batch_size):
    features = extract(objective, X, batch_size, group_size)
    groups = X[: N // group_size * group_size].split(group_size)
    expected = squared_gradient_norms(objective, groups, list(objective.module.parameters()))
    # float64 sums in another order
    np.testing.assert_allclose(features.values, expected.log(), rtol=1e-11, atol=1e-11)
    samples = N // group_size * group_size
    expected_losses = objective(X[:samples]).detach()[:, None]
    np.testing.assert_allclose(features.losses, expected_losses, rtol=1e-12)
    assert features.names == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert features.views == ("loss",)
    assert features.ids == tuple(map(str, range(samples)))
    assert features.numels.tolist() == [48, 8, 48, 6]
    assert features.dimensions.tolist() == [D] * samples
    assert features.group_size == group_size


def test_draws_are_averaged_after_the_logarithm_and_timesteps_stand_side_by_side():
    model = network()
    objective = Views(model)
    features = extract(objective, X)
    columns, losses = [], []
    for t in (3, 5):
        draws = [objective.views()[f"t={t}/draw={k}"] for k in (0, 1)]
        tables = [squared_gradient_norms(d, X.split(1), list(model.parameters())) for d in draws]
        columns.append(torch.stack(tables).log().mean(0))
        losses += [draw(X).detach() for draw in draws]
    np.testing.assert_allclose(features.values, torch.cat(columns, 1), rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(features.losses, torch.stack(losses, 1), rtol=1e-12)
    names = [name for name, _ in model.named_parameters()]
    assert features.names == tuple(f"t={t}/{name}" for t in (3, 5) for name in names)
    assert features.views == ("t=3/draw=0", "t=3/draw=1", "t=5/draw=0", "t=5/draw=1")


def test_samples_left_over_are_cut_with_a_log_line(objective, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(extract(objective, X, group_size=5)) == 4
    assert "the last 2 of 22 samples make no whole group of 5: left out" in caplog.text


class Items(Dataset):
    def __len__(self) -> int:
        return N

    def __getitem__(self, i: int) -> dict:
        return {"x": X[i], "id": f"s{i}", "label": i}


KINDS = {
    "tensor": lambda: X,
    "array": lambda: X.numpy(),
    "dictionary": lambda: {"x": X, "id": [f"s{i}" for i in range(N)]},
    "dataset": Items,
    "pairs": lambda: TensorDataset(X, torch.zeros(N)),
    "loader": lambda: DataLoader(Items(), batch_size=5),
    "generator": lambda: (part for part in X.split(3)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_of_data_give_the_same_features(objective, kind):
    found, expected = extract(objective, KINDS[kind](), 8), extract(objective, X, 8)
    np.testing.assert_array_equal(found.values, expected.values)
    named = kind in ("dictionary", "dataset", "loader")
    assert found.ids == tuple(f"s{i}" if named else str(i) for i in range(N))


@pytest.mark.parametrize("grad", [True, False])
def test_a_disabled_gradient_mode_is_no_obstacle(objective, grad):
    with torch.set_grad_enabled(grad):
        features = extract(objective, X)
        assert torch.is_grad_enabled() == grad
    np.testing.assert_array_equal(features.values, extract(objective, X).values)


def test_model_is_left_as_it_was(objective):
    model = objective.module.train()
    before = {name: t.clone() for name, t in model.state_dict().items()}
    extract(objective, X)
    assert all(m.training for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


class Centred(nn.Module):
    """Subtracts the mean of the batch, hidden from the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x):
        h = self.inner(x)
        return h - h.detach().mean(0)


@pytest.mark.parametrize("group_size", [1, 5])
def test_statistics_of_the_batch_are_refused_even_if_detached(group_size):
    with pytest.raises(RuntimeError, match="the loss of a sample changes") as error:
        extract(reconstruction(Centred()), X, group_size=group_size)
    assert "model.eval()" in str(error.value)


def test_statistics_that_leave_the_loss_alone_are_found_by_the_norms():
    model = network()

    def losses(x):
        h = model(x).sum(1)
        weight = x.abs().sum().detach()
        return weight * h - (weight * h).detach() + h.detach()

    with pytest.raises(RuntimeError, match=r"norm of '0\.weight' of a sample changes"):
        extract(Objective(losses, model), X)


def test_random_losses_are_refused_with_the_name_of_the_view():
    model = network()

    class Random(Views):
        def _view(self, shift):
            steady = super()._view(shift)
            return lambda x: steady(x) * (1 + torch.rand(len(x)) * (shift >= 5))

    with pytest.raises(RuntimeError, match=r"\(view t=5/draw=0\).*random numbers"):
        extract(Random(model), X)


def test_random_numbers_that_leave_the_norms_alone_are_refused():
    model = network()
    objective = Objective(lambda x: (model(x) - x).square().sum(1) + torch.rand(len(x)), model)
    with pytest.raises(RuntimeError, match="the loss of a sample changes"):
        extract(objective, X)


def test_batch_normalisation_without_fixed_statistics_is_refused():
    model = nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D, track_running_stats=False)).double()
    with pytest.raises(RuntimeError, match=r"batch"):
        extract(reconstruction(model.eval()), X)


class Normalised(nn.Module):
    """The bias of the first convolution has no effect, so its gradient is rounding noise."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.conv = nn.Conv2d(1, 4, 3, padding=1)
            self.norm = nn.GroupNorm(4, 4)
            self.head = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))))


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_structurally_zero_layers_lie_below_their_bound_and_are_left_out(kind):
    x = torch.randn(60, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    model = Normalised().to(kind)
    losses = Objective(lambda x: (model(x) - x).square().sum((1, 2, 3)), model)
    features = extract(losses, x, batch_size=16)
    dead = np.array([name == "conv.bias" for name in features.names])
    assert (features.values[:, dead] < np.log(features.bounds[dead])).all()
    # the others lie far above: their noise is some 1e-14 (1e-30 in float64) of them
    assert (features.values[:, ~dead] > np.log(features.bounds[~dead]) + 9).all()
    assert (LayerwiseGaussian().fit(features).kept_ == ~dead).all()


def test_sample_that_is_not_finite_is_named(objective):
    spoiled = X.clone()
    spoiled[9, 2] = torch.nan
    with pytest.raises(ValueError, match=r"sample 9 .* NaN or infinite"):
        extract(objective, spoiled, batch_size=4)
    with pytest.raises(ValueError, match="sample nine"):
        extract(objective, {"x": spoiled[9:10], "id": ["nine"]})


MODEL = nn.Linear(D, D).double()
BREAKS = {  # where the first entry is some thousands, gradients are
    "inf": lambda x: torch.exp(10 * MODEL(x).square().sum(1) - 2e3),
    "nan": lambda x: MODEL(x).sum(1) * (0 * x[:, 0].exp()),
}


@pytest.mark.parametrize("place", [0, 2, 3, 13])  # in the first batch, checked alone or not; later
@pytest.mark.parametrize("kind", BREAKS)
def test_a_sample_that_breaks_the_model_spoils_no_other(place, kind):
    objective = Objective(lambda x: (MODEL(x) - x).square().sum(1) + BREAKS[kind](x), MODEL)
    strange = X.clone()
    strange[place, 0] = 1e4
    with np.errstate(all="raise"):
        found, expected = extract(objective, strange, 8), extract(objective, X, 8)
    others = np.arange(N) != place
    assert not np.isfinite(found.values[place]).any() and not np.isfinite(found.losses[place]).any()
    np.testing.assert_allclose(found.values[others], expected.values[others], rtol=1e-12)
    np.testing.assert_allclose(found.bounds, expected.bounds, rtol=1)  # a median of the others
    assert (found.bounds > 0).all()


def test_gradients_too_small_to_tell_whose_they_are_are_still_exact():
    """Denormal numbers cannot be told apart by powers of two; no batch may be refused for them."""
    model = network().float()
    objective = Objective(
        lambda x: model[0](x).square().sum(1) + 1e-38 * model(x).square().sum(1), model
    )
    features = extract(objective, X.float(), 8)
    x = X.float().split(1)
    expected = squared_gradient_norms(objective, x, list(model.parameters())).double().log()
    assert np.isneginf(features.values[:, 2:]).all()  # the square of 1e-38 is zero
    np.testing.assert_allclose(features.values[:, :2], expected[:, :2], rtol=1e-5, atol=1e-5)


def test_empty_data(objective):
    def nothing() -> Iterator[torch.Tensor]:
        yield from ()

    for data in (X[:0], nothing(), []):
        with pytest.raises(ValueError, match="the data are empty"):
            extract(objective, data)
    with pytest.raises(ValueError, match="not one whole group of 5"):
        extract(objective, X[:3], group_size=5)


class Amplifier(nn.Module):
    """The logistic map, which doubles an error at every step; the start depends on the batch."""

    def __init__(self, per_sample_error: float) -> None:
        super().__init__()
        self.gain, self.error = nn.Parameter(torch.ones(D)), per_sample_error

    def forward(self, x):
        h = (x * self.gain).sigmoid() * (1 + self.error * len(x))
        for _ in range(19):
            h = 4 * h * (1 - h)
        return h.square().sum(1)


def test_amplified_rounding_errors_are_no_dependence_on_the_batch():
    """Kernels round differently for other batch sizes; a chaotic model makes percents of it."""
    rounding = Amplifier(torch.finfo(torch.float32).eps / 8)
    alone, together = rounding(X.float()[:1]), rounding(X.float())[:1]
    assert ((alone - together) / alone).abs() > 1e-2  # more than is let pass unasked
    extract(Objective(rounding, rounding), X.float())


def test_what_rounding_errors_cannot_explain_is_refused():
    statistics = Amplifier(1e-2)
    with pytest.raises(RuntimeError, match="changes with the rest of its batch"):
        extract(Objective(statistics, statistics), X.float())


def test_a_loss_may_write_into_what_it_is_given():
    model = nn.Linear(4, 4).eval()
    writing = Objective(lambda x: (model(x.clamp_(-1, 1)) - x).square().sum(1), model)
    copying = Objective(lambda x: (model(x.clamp(-1, 1)) - x.clamp(-1, 1)).square().sum(1), model)
    for data in (2 * torch.randn(9, 4), 2 * torch.randn(9, 4).numpy()):
        kept = torch.as_tensor(data).clone()
        found = extract(writing, data, progress=False)
        assert torch.equal(torch.as_tensor(data), kept)
        np.testing.assert_array_equal(found.values, extract(copying, data, progress=False).values)


def test_autocast_of_the_caller_changes_nothing(tmp_path):
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 6)).eval()
    objective = Objective(lambda x: (model(x) - x).square().sum(1), model)
    x = torch.randn(40, 6)
    detector = Detector(objective).fit(x)
    plain, table = detector.score(x), extract(objective, x, progress=False)
    detector.save(tmp_path / "detector")
    with torch.autocast("cpu", torch.bfloat16):
        np.testing.assert_array_equal(detector.score(x), plain)
        Detector.load(tmp_path / "detector", objective)  # asks the loss of made-up rows
        again = extract(objective, x, progress=False)
    np.testing.assert_array_equal(again.values, table.values)
    np.testing.assert_array_equal(again.bounds, table.bounds)
    assert again.probe == table.probe


def test_an_entry_that_no_loss_gets_is_named_where_the_loss_fails():
    model = nn.Linear(4, 4).eval()
    told = Objective(lambda b: model(b["x"]).square().sum(1) * b["label"], model)
    data = [{"x": torch.randn(4), "label": 1} for _ in range(20)]
    with pytest.raises((TypeError, IndexError), match="label is kept beside the data, for no loss"):
        extract(told, data, progress=False)
    columns = {name: np.ones(9) for name in "ab"}
    with pytest.raises(TypeError, match=r"make a table: pandas.DataFrame\(data\)"):
        extract(Objective(lambda x: model(x).sum(1), model), columns, progress=False)
