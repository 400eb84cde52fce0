"""What all tests of the command line share."""

import pytest


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Have a name that is no path end at once, without asking the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
