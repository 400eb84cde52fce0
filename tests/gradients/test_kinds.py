"""What one process has learnt of a graph serves the next one, and is never needed."""

import json
import os

import pytest
import torch
from torch import nn

from fimetric.gradients import GradientNorms, MixedSamplesError, cache, engine, kinds
from fimetric.store import archive


@pytest.fixture
def checks(monkeypatch):
    done, check = [], engine.check_sample
    monkeypatch.setattr(engine, "check_sample", lambda *a: done.append(1) or check(*a))
    return done


class Masked(nn.Module):
    """Its product with a masked weight has to be looked at."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.weight, self.bias = nn.Parameter(torch.randn(4, 3)), nn.Parameter(torch.zeros(4))

    def forward(self, x):
        return x @ (self.weight * torch.eye(4)[:, :3]).T + self.bias


def read(samples=5):
    """Read a batch by a model that no plan has seen, as a new process does."""
    module, x = Masked(), torch.linspace(-1, 1, samples * 3).view(samples, 3)
    return GradientNorms(module)(module(x).pow(3).sum(1))


def test_what_was_learnt_serves_the_next_process(folder, checks):
    first = read()
    assert len(checks) == 1 and len(list(folder.iterdir())) == 1
    assert torch.equal(read(), first)
    assert torch.equal(read(7), read(7))  # another size is of the same kind
    assert len(checks) == 1


def test_nothing_is_kept_where_the_folder_is_empty(monkeypatch, tmp_path, checks):
    monkeypatch.setenv("FIMETRIC_CACHE", "")
    monkeypatch.chdir(tmp_path)
    assert torch.equal(read(), read())
    assert len(checks) == 2 and not list(tmp_path.iterdir())


def test_the_default_is_the_users_cache(monkeypatch):
    monkeypatch.delenv("FIMETRIC_CACHE")
    assert cache.folder().name == "fimetric"


def test_a_folder_that_cannot_be_written_is_no_loss(folder, checks):
    folder.write_text("a file")
    assert torch.equal(read(), read())
    assert len(checks) == 2


@pytest.mark.parametrize("damage", ["cut", "edited", "of other sizes", "of another version"])
def test_a_damaged_file_is_learnt_again(folder, checks, damage):
    first = read()
    (path,) = folder.iterdir()
    text = path.read_text()
    if damage == "cut":
        path.write_text(text[: len(text) // 2])
    elif damage == "edited":
        content = json.loads(text)
        content["content"]["mixed"] = []
        path.write_text(json.dumps(content))
    elif damage == "of other sizes":
        form = archive.Kind(path.stem, kinds.VERSION, kinds._Kept, "")
        path.write_bytes(form.encode(kinds._Kept([0.0] * 9, [10**6])))
    else:
        path.write_text(text.replace('"version": 1', '"version": 0'))
    assert torch.equal(read(), first)
    assert len(checks) == 2
    assert path.read_text() == text


def test_a_kind_that_is_distrusted_is_forgotten(folder):
    module = Masked()
    norms, x = GradientNorms(module), torch.randn(5, 3)
    norms(module(x).pow(3).sum(1))
    plans = norms._engine.plans
    graph = engine.read_graph(module(x).pow(3).sum(1), list(module.parameters()))
    plans.distrust(graph, plans.kind(graph))
    assert not os.listdir(folder)


@pytest.mark.parametrize("size", [6, 7])
def test_samples_that_a_matrix_mixes_are_refused_in_a_graph_of_a_known_kind(folder, size):
    """The matrix of the first process leaves each sample alone, and that of the next does not."""

    def losses(module, x, matrix):
        return (matrix @ module(x).tanh()).pow(3).sum(1)

    first, second, x = nn.Linear(3, 4), nn.Linear(3, 4), torch.randn(7, 3)
    GradientNorms(first)(losses(first, x[:6], torch.eye(6)))
    with pytest.raises(MixedSamplesError, match="depends on the other samples"):
        GradientNorms(second)(losses(second, x[:size], torch.eye(size) + 0.1))
