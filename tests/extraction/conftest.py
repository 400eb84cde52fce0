"""What tests of extraction share."""

import pytest
import torch
from letters import Letters
from torch import nn


@pytest.fixture
def letters():
    torch.manual_seed(0)
    return Letters(nn.Sequential(nn.Embedding(128, 8), nn.Linear(8, 128)).double())
