"""The smoke benchmark's scores are those of before: in `make check`, a minute."""

import os

import pytest

from golden import smoke, values

pytestmark = pytest.mark.skipif(
    os.environ.get("FIMETRIC_CHECK") != "long", reason="a minute long: make check runs it"
)


@pytest.fixture(scope="module")
def scores(tmp_path_factory):
    return smoke.made(tmp_path_factory.mktemp("smoke"))


def test_the_same_rows(scores):
    golden = smoke.kept()
    assert scores.drop(columns="score").equals(golden.drop(columns="score"))


def test_the_same_scores(scores):
    golden = smoke.kept()
    if values.processor() == values.kept()[1]:
        assert scores.score.equals(golden.score)
        return
    far = smoke.distances(scores, golden)
    assert (far <= smoke.MOST).mean() >= smoke.SHARE
    assert far.max() <= smoke.ALL


def test_another_score_is_seen(scores):
    other = scores.assign(score=scores.score * 1.1)
    assert (smoke.distances(other, scores) > smoke.ALL).any()
