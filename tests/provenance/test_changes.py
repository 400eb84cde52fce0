"""A model that changes between two calls is noticed, and one that is the same is taken."""

import copy
from fractions import Fraction
from types import SimpleNamespace

import normflows
import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

import fimetric as fm
from fimetric.detection import saved as detector_files
from fimetric.fingerprint.reached import computed_with
from fimetric.objectives import Denoising, NegativeLogLikelihood, Objective
from fimetric.statistics.base import Statistic
from sealed import reseal

X = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A model with a cache, a flag and a number of its own kind."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 64), nn.Linear(64, 5)
        self._scale, self.power, self.table = 1.0, Fraction(1, 1), None

    def forward(self, x):
        if self.table is None:
            self.table = torch.arange(5.0).sin()
        y = self.b(self.a(x).tanh()) * self._scale * float(self.power) + self.table
        return 2 * y if self.training else y


def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def squares(model: nn.Module) -> Objective:
    return Objective(lambda x: (model(x) - x).square().sum(1), model)


CHANGES = {
    "a column through .data": lambda m: m.a.weight.data[:, 1].fill_(3),
    "one entry of a numpy view": lambda m: m.a.weight.detach().numpy().__setitem__((3, 2), 50.0),
    "an attribute with an underscore": lambda m: setattr(m, "_scale", 3.0),
    "a value without attributes": lambda m: setattr(m, "power", Fraction(5, 2)),
    "a hook on a module": lambda m: m.a.register_forward_hook(lambda mod, i, o: o * 2),
    "a hook on a parameter": lambda m: m.a.weight.register_hook(lambda g: g * 10),
    "training mode": lambda m: m.train(),
    "a frozen parameter": lambda m: m.a.weight.requires_grad_(False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_after_the_fit_is_noticed(change):
    model = net()
    detector = fm.Detector(squares(model)).fit(X)
    detector.score(X[:3])
    CHANGES[change](model)
    with pytest.raises(ValueError, match=r"has changed since the detector was fitted"):
        detector.score(X[:3])


def test_what_a_function_closes_over_is_noticed():
    model, other, factor = net(), nn.Linear(5, 5), [1.0]
    objective = Objective(
        lambda x: factor[0] * (model(x) - other(x).detach()).square().sum(1), model
    )
    detector = fm.Detector(objective).fit(X)
    detector.score(X[:3])
    factor[0] = 3.0
    with pytest.raises(ValueError, match=r"the loss has changed since"):
        detector.score(X[:3])
    factor[0] = 1.0
    detector.score(X[:3])
    other.weight.data.mul_(3)
    with pytest.raises(ValueError, match=r"the loss has changed since"):
        detector.score(X[:3])


class Host:
    """An object of no module, whose method is a loss."""

    def __init__(self, model: nn.Module) -> None:
        self.model, self.teacher, self.power = model, nn.Linear(5, 5).eval(), 1.0

    def loss(self, x):
        return (self.model(x) - self.power * self.teacher(x)).square().sum(1)


TEACHER, SHIFT, FACTORS = nn.Linear(5, 5).eval(), torch.tensor(0.0), {"a": 1.0}


def of_globals(model: nn.Module, x):
    def shifted():
        return model(x) - TEACHER(x) - SHIFT

    return scaled(shifted().square().sum(1))


def scaled(losses):
    return FACTORS["a"] * losses


REACHED = {
    "a global module": lambda host: TEACHER.weight.data.add_(0.1),
    "a global number": lambda host: SHIFT.add_(1),
    "a dictionary of a function that is called": lambda host: FACTORS.update(a=FACTORS["a"] + 1),
    "a module of the host": lambda host: host.teacher.bias.data.add_(0.1),
    "a number of the host": lambda host: setattr(host, "power", 2.0),
}


@pytest.mark.parametrize("change", REACHED)
def test_what_a_function_reaches_is_noticed(change):
    model = net()
    host = Host(model)
    loss = host.loss if "host" in change else lambda x: of_globals(model, x)
    detector = fm.Detector(Objective(loss, model)).fit(X)
    detector.score(X)
    REACHED[change](host)
    with pytest.raises(ValueError, match="the loss has changed since the detector was fitted"):
        detector.score(X)


class Raising:
    def __getattr__(self, name):
        raise KeyError(name)


AWKWARD = {
    "sparse": torch.eye(3).to_sparse(),
    "nan": torch.tensor([1.0, torch.nan]),
    "meta": nn.Linear(3, 3, device="meta"),
    "object": Raising(),
    "namespace": SimpleNamespace(np=np),
    "list": [0.0] * 1_000_000,
    "number": 10**5000,
    "empty": torch.zeros(0),
}


@pytest.mark.parametrize("kind", AWKWARD)
def test_whatever_a_function_reaches_breaks_no_call_and_is_no_change(kind):
    value, model = AWKWARD[kind], net()

    def loss(x):
        assert value is not None
        return (model(x) - x).square().sum(1)

    objective = Objective(loss, model)
    assert list(computed_with(objective)) == list(computed_with(objective))
    detector = fm.Detector(objective).fit(X)
    detector.score(X)


def test_of_long_lists_the_length_is_looked_at():
    many = [0.0] * 1_000_000
    marks = list(computed_with(Objective(lambda x: many, nn.Linear(1, 1))))
    assert marks == [("list", id(many), 1_000_000)]


data = nn.Linear(5, 5)  # called as an attribute of tensors is


def test_attributes_are_no_globals():
    model = net()
    detector = fm.Detector(Objective(lambda x: model(x.data).square().sum(1), model)).fit(X)
    before = list(computed_with(detector.objective))
    data.weight.data.add_(1)
    assert list(computed_with(detector.objective)) == before


def test_another_objective_in_its_place_is_noticed():
    model = net()
    detector = fm.Detector(squares(model)).fit(X)
    detector.objective = Objective(lambda x: (model(x) - x).abs().sum(1), model)
    with pytest.raises(ValueError, match=r"has changed since the detector was fitted"):
        detector.score(X[:3])


def test_a_schedule_that_changes_is_noticed():
    unet = fm.models.build("diffusion", "tiny", (1, 4, 4)).eval().unet
    objective = Denoising(unet, DDPMScheduler(), (50,))
    detector = fm.Detector(objective).fit(IMAGES)
    objective.scheduler.alphas_cumprod.mul_(0.5)
    with pytest.raises(ValueError, match=r"the loss has changed since"):
        detector.score(IMAGES[:3])


@pytest.mark.parametrize("warm", ["at fit", "at load", "at both"])
def test_a_cache_that_a_first_pass_fills_is_no_change(tmp_path, warm):
    one, other = net(), net()
    if warm != "at load":
        one(X)
    detector = fm.Detector(squares(one)).fit(X)
    detector.save(tmp_path / "d")
    if warm != "at fit":
        other(X)
    again = fm.Detector.load(tmp_path / "d", squares(other))
    np.testing.assert_array_equal(again.score(X), detector.score(X))


def test_a_flow_that_has_initialised_itself_opens_again(tmp_path):
    def flow():
        layers = [normflows.flows.ActNorm(5), normflows.flows.LULinearPermute(5)]
        return normflows.NormalizingFlow(normflows.distributions.DiagGaussian(5), layers)

    one, other = flow(), flow()
    one.log_prob(X)
    other.load_state_dict(one.state_dict())
    detector = fm.Detector(NegativeLogLikelihood(one.eval())).fit(X)
    detector.save(tmp_path / "d")
    again = fm.Detector.load(tmp_path / "d", NegativeLogLikelihood(other.eval()))
    np.testing.assert_allclose(again.score(X), detector.score(X), rtol=1e-5)


def test_a_weight_that_is_made_of_others_is_no_attribute(tmp_path):
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(5, 5))).eval()
    detector = fm.Detector(squares(model)).fit(X)
    detector.save(tmp_path / "d")
    with torch.no_grad():
        model(X)
    fm.Detector.load(tmp_path / "d", squares(model))
    detector.score(X)


def test_a_module_that_holds_its_parent_is_no_circle():
    model = net()
    model.parents = [model]
    model.a.parents = (model,)
    detector = fm.Detector(squares(model)).fit(X)
    detector.score(X[:3])
    model.a.weight.data.mul_(2)
    with pytest.raises(ValueError, match="has changed"):
        detector.score(X[:3])


def test_a_sparse_buffer_counts():
    model = nn.Linear(5, 5)
    model.register_buffer("graph", torch.eye(5).to_sparse())
    objective = Objective(lambda x: (model(x) - x @ model.graph.to_dense()).square().sum(1), model)
    detector = fm.Detector(objective).fit(X)
    detector.score(X[:3])
    model.graph = (2 * torch.eye(5)).to_sparse()
    with pytest.raises(ValueError, match="has changed"):
        detector.score(X[:3])


def test_frozen_parameters_are_another_table(tmp_path):
    model = net()
    fm.extract(squares(model), X, folder=tmp_path / "f", progress=False)
    model.a.requires_grad_(False)
    with pytest.raises(ValueError, match="another model"):
        fm.extract(squares(model), X, folder=tmp_path / "f", progress=False)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 20.0])
def test_bounds_are_those_of_the_data_in_any_order(scale):
    data = scale * X * torch.logspace(-2, 2, 40)[:, None]

    def bounds(x, size):
        return fm.extract(squares(copy.deepcopy(model)), x, size, progress=False).bounds

    model = net().double()
    first = bounds(data, 40)
    np.testing.assert_allclose(bounds(data.flip(0), 7), first, rtol=1e-9)
    np.testing.assert_allclose(bounds(torch.cat([data, data]), 3), first, rtol=1e-9)
    assert (first > 0).all()


class Historied(nn.Module):
    """A model that keeps what only its training writes in plain attributes."""

    def __init__(self, **written) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.steps = nn.Linear(5, 5), 0
        self.losses, self.notes = [], {}
        vars(self.layer).update(written.pop("layer", {}))
        vars(self).update(written)

    def forward(self, x):
        return self.layer(x)


WRITTEN = {
    "a counter": ({"steps": 7}, "steps was 7 and is 0"),
    "a list": ({"losses": [0.5, 0.25]}, r'losses was \["0.5", "0.25"\] and is \[\]'),
    "a dictionary": ({"notes": {"epoch": 3}}, r'notes was {"epoch": "3"} and is {}'),
    "a new one": ({"last_loss": 0.5}, "last_loss was 0.5 and is not there"),
    "one of a layer": ({"layer": {"best": 2}}, r"layer\.best was 2 and is not there"),
    "a long one": (
        {"losses": [0.5] * 99},
        r"losses was \[.{79}\.\.\. \([0-9a-f]{16}\) and is \[\]",
    ),
    "five": (dict.fromkeys("abcde", 1), r"a was 1 .*, b was 1 .*, c was 1 .*, 2 more;"),
}
REMEDY = r"begin with an underscore are not compared: .* only training writes"


@pytest.mark.parametrize("case", WRITTEN)
def test_what_only_training_wrote_is_named_where_a_model_is_refused(tmp_path, case):
    written, words = WRITTEN[case]
    detector = fm.Detector(squares(Historied(**written))).fit(X)
    detector.save(tmp_path / "d")
    with pytest.raises(ValueError, match=f"other classes.*: {words}.*{REMEDY}"):
        fm.Detector.load(tmp_path / "d", squares(Historied()))


def test_what_has_changed_since_the_fit_is_named(tmp_path):
    model = Historied()
    fm.Detector(squares(model)).fit(X).save(tmp_path / "d")
    for detector in (
        fm.Detector(squares(model)).fit(X),
        fm.Detector.load(tmp_path / "d", squares(model)),
    ):
        model.steps = 3
        with pytest.raises(
            ValueError, match=rf"has changed.*\(.*: steps was 0 and is 3; .*{REMEDY}"
        ):
            detector.score(X[:2])
        model.steps = 0
        detector.score(X[:2])


def test_the_remedy_is_said_of_tables_which_keep_no_attributes():
    table = fm.extract(squares(Historied(steps=7)), X, progress=False)
    with pytest.raises(ValueError, match=f"come from another model.*attributes.*{REMEDY}"):
        fm.Detector(squares(Historied())).fit(table)


def test_a_detector_without_attributes_opens_and_says_the_remedy(tmp_path):
    fm.Detector(squares(Historied())).fit(X).save(tmp_path / "d")
    reseal(tmp_path / "d", detector_files.KIND, attributes=None)
    fm.Detector.load(tmp_path / "d", squares(Historied()))
    with pytest.raises(ValueError, match=f"or configuration; names that {REMEDY}"):
        fm.Detector.load(tmp_path / "d", squares(Historied(steps=7)))


def test_attributes_with_an_underscore_are_as_the_remedy_says(tmp_path):
    fm.Detector(squares(Historied(_losses=[0.5]))).fit(X).save(tmp_path / "d")
    fm.Detector.load(tmp_path / "d", squares(Historied()))


class Losses(Statistic):
    name = "losses"
    names = ("loss",)

    def measure(self, x):
        return self.objective(x)[:, None]


TABLES = {
    "norms": lambda objective, x: fm.extract(objective, x, progress=False),
    "a statistic": lambda objective, x: Losses(objective).features(x, progress=False),
}


@pytest.mark.parametrize("again", [True, False], ids=["one objective", "two of one model"])
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_tables_join_though_a_cache_was_filled_between_them(table, again):
    model = net()
    objective = squares(model)
    first = table(objective, X[:20])
    second = table(objective if again else squares(model), X[20:])
    whole = table(squares(net()), X)
    joined = fm.Features.concatenate([first, second])
    assert first.unsteady == second.unsteady == ("module.table",)
    assert joined.fingerprint == whole.fingerprint
    np.testing.assert_allclose(joined.values, whole.values, rtol=1e-4)


def test_tables_do_not_join_where_a_cache_holds_something_else_and_it_is_named():
    model = net()
    objective = squares(model)
    first = fm.extract(objective, X, progress=False)
    model.table = model.table + 1
    second = fm.extract(objective, X, progress=False)
    with pytest.raises(ValueError, match=r"pass changed module\.table for one of them alone"):
        fm.Features.concatenate([first, second])


def test_tables_of_two_losses_do_not_join_whatever_came_first():
    model = net()
    model(X)
    one, other = (
        Objective(lambda x, p=p: (model(x) - x).abs().pow(p).sum(1), model) for p in (2, 3)
    )
    with pytest.raises(ValueError, match="probe of part 1 differs"):
        fm.Features.concatenate(
            [fm.extract(one, X, progress=False), fm.extract(other, 4 * X, progress=False)]
        )
