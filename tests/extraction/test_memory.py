"""How many samples go through a model at once: as many as memory holds, told by one sample."""

import pytest
import torch
from torch import nn

from fimetric.extraction import memory
from fimetric.objectives import Objective

SAMPLE = torch.ones(1, 1000)


def objective() -> Objective:
    model = nn.Linear(1000, 10)
    return Objective(lambda x: model(x).exp().sum(1), model)


def test_what_the_graph_keeps_is_counted_without_the_weights():
    kept = memory.graph_bytes(objective(), SAMPLE)
    assert kept == 4 * (1000 + 10)  # the input of the layer, and what exp returned


@pytest.mark.parametrize(
    ("samples", "expected"), [(0.5, 1), (1, 1), (3.9, 2), (4, 4), (70, 64), (1e9, 64)]
)
def test_the_batch_is_a_power_of_two_that_fits(monkeypatch, samples, expected):
    free = samples * memory.graph_bytes(objective(), SAMPLE) / memory.SHARE
    monkeypatch.setattr(memory, "free_bytes", lambda device: free)
    assert memory.batch_size_for(objective(), SAMPLE) == expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [(torch.OutOfMemoryError("no room"), 1), (RuntimeError("shapes"), memory.MOST)],
)
def test_a_sample_that_finds_no_room_comes_alone(error, expected):
    model = nn.Linear(1000, 10)

    def losses(x):
        raise error

    assert memory.batch_size_for(Objective(losses, model), SAMPLE) == expected
