"""Models that change in their own forward pass are named, whatever asks them for losses."""

import pytest
import torch
from torch import nn

import fimetric as fm
from fimetric.fisher import Diagonal
from fimetric.objectives import Objective
from fimetric.objectives.steadiness import unchanged
from fimetric.statistics.base import Statistic

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))


class Tokens(nn.Module):
    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, x):
        return self.table((x.abs() * 3).long().clamp_max(9))


def embedding():
    return Tokens(nn.Embedding(10, 3, max_norm=0.5))


def bags():
    return Tokens(nn.EmbeddingBag(10, 3, max_norm=0.5))


def spectral():
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))).train()


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def old_spectral():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 3))).train()


class Changing(nn.Module):
    """Does something to itself in each forward pass."""

    def __init__(self, change):
        super().__init__()
        self.layer, self.change = nn.Linear(4, 3), change
        self.register_buffer("state", torch.zeros(3))
        self.register_buffer("cache", torch.zeros(1), persistent=False)

    def forward(self, x):
        self.change(self, x)
        return self.layer(x) + self.state


def first_batch(model, x):
    if not model.state.any():
        model.layer.bias.data = -model.layer(x).mean(0).detach()
        model.state = torch.full((3,), 1e-3)


def mask(model, x):
    model.layer.weight.data *= torch.ones(3, 4).tril()


def count(model, x):
    model.state += 1


def numpy_view(model, x):
    model.layer.weight.detach().numpy()[0, 0] = 7


def changing(change):
    return lambda: Changing(change)


KNOWN = {
    embedding: r"table \(Embedding\) has max_norm=0.5.*torch.renorm.*max_norm=None",
    bags: r"table \(EmbeddingBag\) has max_norm=0.5.*max_norm=None",
    spectral: r"spectral norm in training mode.*model.eval",
    old_spectral: r"0 \(Linear\) has a spectral norm in training mode.*model.eval",
}
FOUND = {
    changing(first_batch): r"changes itself in its forward pass: .*layer.bias.*on one batch of its",
    changing(mask): r"changes itself in its forward pass: 'layer.weight' differ",
    changing(count): r"changes itself in its forward pass: 'state' differ",
    changing(numpy_view): r"changes itself in its forward pass: 'layer.weight' differ",
}


class Losses(Statistic):
    name = "losses"
    names = ("loss",)

    def measure(self, x):
        return self.objective(x)[:, None]


ENTRIES = {
    "extract": lambda objective: fm.extract(objective, X, progress=False),
    "fit": lambda objective: fm.Detector(objective).fit(X),
    "statistic": lambda objective: Losses(objective).features(X, progress=False),
    "metric": lambda objective: Diagonal().fit(objective, X, progress=False),
}


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
@pytest.mark.parametrize(("make", "message"), [*KNOWN.items(), *FOUND.items()])
def test_a_model_that_changes_in_its_forward_is_refused(make, message, entry):
    torch.manual_seed(0)
    model = make()
    objective = Objective(lambda x: model(x).flatten(1).square().sum(1), model)
    with pytest.raises(RuntimeError, match=message):
        entry(objective)


def test_a_change_of_an_encoder_beside_the_model_is_seen():
    model, encoder = nn.Linear(3, 3), Changing(count)
    objective = Objective(lambda x: model(encoder(x)).square().sum(1), model)
    objective.encoder = encoder
    with pytest.raises(RuntimeError, match=r"'encoder\.state' differ"):
        fm.extract(objective, X, progress=False)


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
@pytest.mark.parametrize("make", [spectral, old_spectral])
def test_what_is_steady_in_evaluation_mode_is_taken(make):
    model = make().eval()
    objective = Objective(lambda x: model(x).square().sum(1), model)
    alone = [objective(x[None]).item() for x in X]
    found = fm.extract(objective, X, progress=False)
    torch.testing.assert_close(torch.tensor(alone), torch.from_numpy(found.losses[:, 0]).float())


def grow_cache(model, x):
    model.cache = torch.zeros(len(x))


@pytest.mark.parametrize("change", [grow_cache, first_batch, mask])
def test_a_model_is_taken_once_it_changes_no_more(change):
    model = Changing(change)
    model(X)
    objective = Objective(lambda x: model(x).square().sum(1), model)
    assert len(fm.extract(objective, X, progress=False)) == len(X)


@pytest.mark.parametrize(
    "kind", [torch.float16, torch.complex64, torch.int64, torch.bool, torch.float8_e4m3fn]
)
def test_a_change_is_seen_in_any_number_format(kind):
    module = nn.Module()
    module.register_buffer("state", torch.zeros(3).to(kind))
    with unchanged(module):
        module.state.data = module.state.clone()
    with pytest.raises(RuntimeError, match="'state' differ"), unchanged(module):
        module.state = torch.ones(3).to(kind)
