"""What every level of the Fisher metric keeps, on models with all kinds of contributions."""

import logging

import numpy as np
import pytest
import torch
from metric_cases import CASES, METRICS, build, draws, gradients, measured, real, squares
from torch import nn

from fimetric.detectors import LayerwiseGaussian
from fimetric.fisher.metrics import Diagonal, LowRank, ScaledIdentity
from fimetric.fisher.metrics.blocks import Scaled, Weighted
from fimetric.gradients import GradientNorms
from fimetric.objectives import Objective

EXACT = {"rtol": 1e-9, "atol": 1e-11}  # float64 sums in another order


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]()


@pytest.fixture(params=CASES)
def case(request):
    return build(request.param)


def fitted(metric, case):
    objective, x = case
    return metric.fit(objective, x[:-5], batch_size=4, progress=False), objective, x


def test_columns_are_finite_and_sum_to_a_positive_number(metric, case):
    metric, objective, x = fitted(metric, case)
    table = measured(metric, objective, x)
    assert table.shape == (len(x), len(metric.names)) and table.dtype == torch.float64
    assert table.isfinite().all() and (table >= 0).all() and (table.sum(1) > 0).all()


def test_a_sample_gets_the_same_alone_and_in_any_company(metric, case):
    metric, objective, x = fitted(metric, case)
    together = measured(metric, objective, x)
    for rows in ([3], [4, 3], [3, 3, 3], list(range(3, len(x)))):
        alone = measured(metric, objective, x[rows])[rows.index(3)]
        torch.testing.assert_close(alone, together[3], **EXACT)


def test_features_are_the_logarithms(metric, case):
    metric, objective, x = fitted(metric, case)
    features = metric.features(x, batch_size=6, progress=False)
    with np.errstate(divide="ignore"):
        expected = np.log(measured(metric, objective, x).numpy())
    np.testing.assert_allclose(features.values, expected, rtol=1e-9, atol=1e-9)
    assert features.names == tuple(metric.names)
    np.testing.assert_allclose(features.losses[:, 0], objective(x).detach(), rtol=1e-12)
    assert features.ids == tuple(map(str, range(len(x))))
    whole = sum(p.numel() for p in objective.module.parameters())
    assert features.numels.sum() <= whole and (features.numels >= 0).all()


def test_batch_size_of_the_fit_changes_nothing(metric, case):
    metric, objective, x = fitted(metric, case)
    before = measured(metric, objective, x)
    metric.fit(objective, x[:-5], batch_size=100, progress=False)
    torch.testing.assert_close(measured(metric, objective, x), before, rtol=1e-7, atol=1e-9)


def test_a_layer_without_gradient_is_exactly_zero_and_named(metric, caplog):
    with caplog.at_level(logging.INFO):
        metric, objective, x = fitted(metric, build("dead"))
    assert "unused, conv.bias" in caplog.text and "2 of 6 layers" in caplog.text
    if isinstance(metric, LowRank):
        whole = measured(metric, objective, x).sum()
        with torch.no_grad():
            objective.module.unused += 1
        assert measured(metric, objective, x).sum() == whole
        return
    dead = [name in ("conv.bias", "unused") for name in metric.names]
    table = measured(metric, objective, x)
    assert (table[:, dead] == 0).all() and (table[:, np.logical_not(dead)] > 0).all()
    features = metric.features(x, progress=False)
    assert (LayerwiseGaussian().fit(features).kept_ == np.logical_not(dead)).all()


def test_live_layers_lie_above_their_bound_in_float32(metric):
    objective, x = build("dead", torch.float32)
    metric.fit(objective, x, progress=False)
    features = metric.features(x, progress=False)
    dead = np.isin(features.names, ["conv.bias", "unused"])
    assert (features.values[:, ~dead] > np.log(features.bounds[~dead]) + 3).all()
    assert np.isneginf(features.values[:, dead]).all()


def test_float32_is_float64_up_to_rounding(metric):
    table = {}
    for kind in (torch.float32, torch.float64):
        objective, x = build("convolutions", kind)
        table[kind] = measured(metric.fit(objective, x, progress=False), objective, x)
    assert table[torch.float32].dtype == torch.float32
    wide = table[torch.float32].double()
    torch.testing.assert_close(wide, table[torch.float64], rtol=2e-3, atol=2e-3)


def test_a_sample_that_breaks_the_model_is_nan_and_spoils_no_other(metric):
    model = build("perceptron")[0].module
    objective = Objective(
        lambda x: model(x).square().sum(1) + model(x).sum(1) * (0 * x[:, 0].exp()), model
    )
    x = draws(12, 4)
    metric.fit(objective, x, progress=False)
    strange = x.clone()
    strange[5, 0] = 1e4
    found, expected = (metric.features(y, progress=False).values for y in (strange, x))
    assert np.isnan(found[5]).all()
    others = np.arange(12) != 5
    np.testing.assert_allclose(found[others], expected[others], rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="the loss of reference sample '5' is nan"):
        metric.fit(objective, strange, progress=False)
    # what had been learned is still there
    np.testing.assert_array_equal(metric.features(x, progress=False).values, expected)


def test_reference_gradients_that_are_not_finite_are_named(metric):
    model = nn.Linear(2, 1).double()
    objective = Objective(lambda x: model(x)[:, 0].square() + (model(x)[:, 0] * 0).sqrt(), model)
    with pytest.raises(ValueError, match=r"norm of 'weight' of reference sample '\d' is (nan|inf)"):
        metric.fit(objective, draws(4, 2), progress=False)


class Views(Objective):
    def __init__(self, module, draws=2):
        super().__init__(self.forward, module)
        self.draws = draws

    def views(self):
        return {
            f"t={t}/draw={k}": self._view(t + 0.3 * k) for t in (0, 2) for k in range(self.draws)
        }

    def _view(self, shift):
        return lambda x: (self.module(x * (1 + shift)) - x[:, :3]).square().sum(1)


def test_each_view_has_its_own_f_and_draws_share_one(metric):
    objective, x = Views(build("perceptron")[0].module), draws(10, 4)
    metric.fit(objective, x, progress=False)
    features = metric.features(x, progress=False)
    columns = []
    for t in ("t=0", "t=2"):
        both = [metric(objective.losses(f"{t}/draw={k}", x), view=t) for k in (0, 1)]
        columns.append(torch.stack(both).detach().log().mean(0))
    np.testing.assert_allclose(features.values, torch.cat(columns, 1), rtol=1e-9, atol=1e-9)
    assert features.names == tuple(metric.names)
    assert {name.split("/")[0] for name in features.names} == {"t=0", "t=2"}
    one = ScaledIdentity().fit(objective, x, progress=False)
    squared = [real(gradients(view, x)["0.weight"]).square() for view in _alone(objective)]
    for t, pair in (("t=0", squared[:2]), ("t=2", squared[2:])):
        expected = torch.cat(pair).mean().item()
        assert one.of(t).blocks["0.weight"].c == pytest.approx(expected, rel=1e-10)
    with pytest.raises(ValueError, match="name one of the views 't=0', 't=2'; got None"):
        metric(objective.losses("t=0/draw=0", x))
    with pytest.raises(ValueError, match="got 't=1'"):
        metric.of("t=1")


def _alone(objective):
    return [Objective(function, objective.module) for function in objective.views().values()]


def test_features_resume_and_those_of_another_metric_are_refused(metric, tmp_path):
    metric, objective, x = fitted(metric, build("perceptron"))
    first = metric.features(x, folder=tmp_path / "a", progress=False)
    again = metric.features(x, folder=tmp_path / "a", progress=False)
    np.testing.assert_array_equal(first.values, again.values)
    assert first.objective == again.objective and "in the metric" in first.objective
    metric.fit(objective, x[:-5], batch_size=7, progress=False)  # the same F
    metric.features(x, folder=tmp_path / "a", progress=False)
    other = ScaledIdentity() if not isinstance(metric, ScaledIdentity) else Diagonal()
    other.fit(objective, x[:-5], progress=False)
    with pytest.raises(ValueError, match="another objective"):
        other.features(x, folder=tmp_path / "a", progress=False)
    metric.fit(objective, x[:-4], progress=False)
    with pytest.raises(ValueError, match="another objective"):
        metric.features(x, folder=tmp_path / "a", progress=False)


def test_features_go_on_where_they_were_stopped(tmp_path):
    metric, _, x = fitted(LowRank(3), build("perceptron"))

    def stopping():
        yield from x.split(4)[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        metric.features(stopping(), 4, tmp_path / "a", progress=False)
    whole = metric.features(x, 4, tmp_path / "a", progress=False)
    np.testing.assert_array_equal(whole.values, metric.features(x, 4, progress=False).values)


def test_another_objective_of_the_same_model_can_be_measured(metric):
    metric, objective, x = fitted(metric, build("perceptron"))
    other = Objective(lambda x: 2 * objective.function(x), objective.module)
    found = metric.features(x, progress=False, objective=other).values
    expected = metric.features(x, progress=False).values + np.log(4)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    with pytest.raises(ValueError, match="the objective has"):
        metric.features(x, progress=False, objective=Views(objective.module))
    with pytest.raises(ValueError, match="another model"):
        metric.features(x, progress=False, objective=build("tokens")[0])


def test_nothing_is_measured_with_a_metric_of_other_weights(metric):
    metric, objective, x = fitted(metric, build("perceptron"))
    with torch.no_grad():
        objective.module[0].weight += 1
    with pytest.raises(ValueError, match="other weights"):
        metric.features(x, progress=False)


def test_graph_is_kept_where_asked(metric):
    metric, objective, x = fitted(metric, build("perceptron"))
    losses = objective(x)
    first = metric(losses, retain_graph=True)
    torch.testing.assert_close(metric(losses), first, rtol=0, atol=0)
    assert not first.requires_grad
    with pytest.raises(RuntimeError):
        losses.sum().backward()


def test_use_before_fit_and_nonsense_is_refused(metric):
    objective, x = build("perceptron")
    for use in (lambda: metric(objective(x)), lambda: metric.features(x), lambda: metric.names):
        with pytest.raises(RuntimeError, match="call fit first"):
            use()
    with pytest.raises(ValueError, match="the data are empty"):
        metric.fit(objective, x[:0], progress=False)
    still = Objective(lambda x: (model(x) * 0).sum(1), model := nn.Linear(4, 2))
    with pytest.raises(ValueError, match="no layer has a gradient"):
        metric.fit(still, x, progress=False)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "identity"])
def test_one_reference_is_enough_only_with_a_damping_of_ones_own(name):
    objective, x = build("perceptron")
    with pytest.raises(ValueError, match="there is 1 sample"):
        METRICS[name]().fit(objective, x[:1], progress=False)
    metric = METRICS[name](damping=0.5).fit(objective, x[:1], progress=False)
    assert measured(metric, objective, x).isfinite().all()


@pytest.mark.parametrize("damping", [-0.1, 1.1, float("nan")])
@pytest.mark.parametrize("name", [name for name in METRICS if name != "identity"])
def test_dampings_that_are_no_shares_are_refused(name, damping):
    if name == "low rank" and damping > 1:
        return  # there it is a number of its own
    with pytest.raises(ValueError, match="damping is"):
        METRICS[name](damping=damping).fit(*build("perceptron"), progress=False)


def test_no_random_numbers_are_taken_and_results_repeat(metric):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    metric, objective, x = fitted(metric, build("perceptron"))
    first = measured(metric, objective, x)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    metric, objective, x = fitted(metric, build("perceptron"))
    assert torch.equal(measured(metric, objective, x), first)


def test_scaled_identity_is_the_norm_in_units_of_its_mean(case):
    objective, x = case
    metric = ScaledIdentity().fit(objective, x[:7], batch_size=3, progress=False)
    norms = torch.stack([real(g).square().sum(1) for g in gradients(objective, x).values()], 1)
    sizes = torch.tensor([p.numel() for p in objective.module.parameters()])
    live = [block.noise > 0 for block in metric.of().blocks.values()]
    expected = (norms * sizes / norms[:7].mean(0))[:, live]
    torch.testing.assert_close(measured(metric, objective, x)[:, live], expected, **EXACT)


def test_rounding_bounds_are_those_of_the_norms_in_the_metric(case):
    objective, x = case
    norms = GradientNorms(objective.module).measure(objective(x)).bound
    for metric in (ScaledIdentity(), Diagonal()):
        fitted = metric.fit(objective, x, progress=False).of()
        noise = torch.tensor([block.noise for block in fitted.blocks.values()])
        assert noise.max() > 0
        torch.testing.assert_close(fitted.measure(objective(x)).bound, norms * noise, **EXACT)
    spread = Weighted(torch.tensor([1.0, 2.0, 4.0]).double(), 0.1).noise
    assert spread == pytest.approx(7 / 12) and Scaled(5.0).noise == pytest.approx(1 / 5)


def test_low_precision_models_are_measured_in_float32(metric):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).bfloat16()
    objective, x = squares(model), draws(16, 4).bfloat16()
    table = measured(metric.fit(objective, x, progress=False), objective, x)
    assert table.dtype == torch.float32 and table.isfinite().all() and (table.sum(1) > 0).all()
