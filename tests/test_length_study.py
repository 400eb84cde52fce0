"""The measurement of docs/results/length: what a stretch is made of, and the band it is held to."""

import numpy as np
import pytest

from studies import modules

pytest.importorskip("tokenizers")
pytest.importorskip("transformers")
pytest.importorskip("pyarrow")


@pytest.fixture
def study():
    with modules("length") as imported:
        yield imported


def test_no_row_is_in_two_stretches_and_each_begins_with_one(study):
    stretches = study("stretches")
    random = np.random.default_rng(0)
    rows = [
        list(range(1000 * i, 1000 * i + int(n))) for i, n in enumerate(random.integers(60, 300, 90))
    ]
    found = stretches.joined(rows)
    used = [row for _, own in found for row in own]
    assert used == list(range(len(used))) and len(rows) - len(used) < 6
    for tokens, own in found:
        assert len(tokens) == 256
        np.testing.assert_array_equal(tokens, [t for i in own for t in rows[i]][:256])


def test_parts_share_no_stretch(study):
    found = study("stretches").parts(1200)
    assert [len(each) for each in found.values()] == [300, 300, 600]
    assert sorted(np.concatenate(list(found.values()))) == list(range(1200))


def test_all_lengths_lie_in_their_bands_together_as_often_as_said(study):
    """Each length has scores of its own here; those of one stretch depend on each other."""
    judging = study("judging")
    random, sets, n, m = np.random.default_rng(1), 3000, 300, 500
    low, high = judging.band(n, m)
    k = int(0.05 * (n + 1))
    threshold = random.beta(n + 1 - k, k, (sets, 5))  # the k-th largest of n uniform scores
    shares = random.binomial(m, 1 - threshold) / m
    inside = ((low <= shares) & (shares <= high)).all(1).mean()
    assert 0.985 < inside < 0.998
    assert 0 < low < 0.05 < high < 0.12
