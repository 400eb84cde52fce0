"""The losses of an ensemble's members stand side by side, and each member counts in provenance."""

import numpy as np
import pytest
import torch
from torch import nn

from fimetric.detectors import WAIC
from fimetric.objectives import Objective
from fimetric.statistics.ensemble import EnsembleLosses

X = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))


class Views(Objective):
    """Two views, of which the loss is the mean."""

    def views(self):
        return {"a": self.function, "b": lambda x: 3 * self.function(x)}


def member(seed, kind=Objective):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))
    return kind(lambda x: (model(x) - x).square().sum(1), model, seed=seed)


@pytest.mark.parametrize("kind", [Objective, Views])
def test_columns_are_the_members_losses(kind):
    members = [member(seed, kind) for seed in range(3)]
    table = EnsembleLosses(members).features(X, batch_size=4, progress=False)
    assert table.names == ("member0", "member1", "member2")
    for m, objective in enumerate(members):
        expected = objective(X).detach().double()
        np.testing.assert_allclose(table.values[:, m], expected, rtol=1e-6)  # float32, two batches
    own = [members[0].losses(view, X).detach().numpy() for view in members[0].views()]
    np.testing.assert_allclose(table.losses, np.stack(own, 1), rtol=1e-6)
    assert table.views == (("loss",) if kind is Objective else ("a", "b"))


def test_waic_of_the_table():
    members = [member(seed) for seed in range(4)]
    table = EnsembleLosses(members).features(X, progress=False)
    losses = torch.stack([m(X) for m in members]).detach().double()
    expected = losses.mean(0) + losses.var(0, correction=0)
    np.testing.assert_allclose(WAIC().fit(table).score(table), expected, rtol=1e-5)


def test_every_member_changes_the_fingerprint_and_the_description():
    members = [member(seed) for seed in range(3)]
    table = EnsembleLosses(members).features(X, progress=False)
    for m in range(3):
        members = [member(seed) for seed in range(3)]
        with torch.no_grad():
            members[m].module[2].bias[1] += 1e-3
        other = EnsembleLosses(members).features(X, progress=False)
        assert other.fingerprint != table.fingerprint
    members = [member(0), member(1), Views(member(2).function, member(2).module, 2)]
    assert EnsembleLosses(members).features(X, progress=False).objective != table.objective
    members = [member(seed) for seed in range(3)]
    members[2].seed = 9
    assert EnsembleLosses(members).features(X, progress=False).objective != table.objective
    again = EnsembleLosses([member(seed) for seed in range(3)]).features(X, progress=False)
    assert (again.fingerprint, again.objective) == (table.fingerprint, table.objective)


def test_members_of_two_formats_and_a_sample_alone():
    members = [member(0), member(1)]
    members[1].module.double()
    found = EnsembleLosses(members).measure(X)
    torch.testing.assert_close(found[:, 1], members[1](X), rtol=1e-12, atol=0)
    torch.testing.assert_close(EnsembleLosses(members).measure(X[:1]), found[:1])


def test_one_member_is_no_ensemble_and_training_mode_is_refused():
    with pytest.raises(ValueError, match="at least two members, not 1"):
        EnsembleLosses([member(0)])
    other = member(1)
    other.module.insert(1, nn.Dropout(0.5))
    with pytest.raises(RuntimeError, match="training mode"):
        EnsembleLosses([member(0), other]).features(X, progress=False)


def test_members_of_texts_take_strings():
    pytest.importorskip("transformers")
    from known_texts import TEXTS, causal

    members = [causal(), causal()]
    with torch.no_grad():
        members[1].module.lm_head.weight *= 0.5
    table = EnsembleLosses(members).features(TEXTS, batch_size=2, progress=False)
    expected = [[m(m.prepare([text])).item() for m in members] for text in TEXTS]
    np.testing.assert_allclose(table.values, expected, rtol=1e-9)
    assert table.dimensions.tolist() == members[0].dimensions(members[0].prepare(TEXTS)).tolist()
