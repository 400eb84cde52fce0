from dataclasses import replace

import numpy as np
import pytest
from matplotlib.image import imread

from fimetric.benchmark.page import draw_matrix
from fimetric.benchmark.page.matrix import BELOW, _sets
from fimetric.benchmark.results import Comparison

ONE = Comparison(
    "a-vae", "vae", 0, "a", "b", "far", "m0", 1, "random", 0.9, 0.85, 0.95, 100, 50
)  # fmt: skip


def test_own_sets_come_first_among_the_foreign_sets_and_near_sets_last():
    pale = replace(ONE, other="a, pale", distance="near")
    sets = [pale, ONE, replace(ONE, other="c"), replace(ONE, own="c", other="a")]
    assert _sets(sets) == (["a", "c"], ["a", "c", "b", "pale"])


def test_an_auroc_below_one_half_has_a_colour_of_its_own(tmp_path):
    path = tmp_path / "matrix.png"
    below = tuple(int(BELOW[k : k + 2], 16) for k in (1, 3, 5))

    def area(value):
        rows = [ONE, replace(ONE, method="m1", auroc=value), replace(ONE, family="glow")]
        draw_matrix(path, rows, ("m0", "m1"))
        levels = np.rint(255 * imread(path)[..., :3]).astype(int)
        return int((levels == below).all(-1).sum())

    assert area(0.4) > 2 * area(0.6) > 0  # beyond the legend's


def test_seeds_are_averaged(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("matplotlib.axes.Axes.text", lambda axes, x, y, s, **_: said.append(s))
    rows = [replace(ONE, auroc=0.6), replace(ONE, model="a-vae-1", seed=1, auroc=0.8)]
    draw_matrix(tmp_path / "matrix.png", rows, ("m0", "m1"))
    assert said == ["0.70"]


@pytest.mark.parametrize(("methods", "rows"), [
    (("x", "y"), [ONE]),
    (("m0", "m1"), [ONE, replace(ONE, arrangement="consecutive")]),
])  # fmt: skip
def test_nothing_or_two_arrangements_are_refused(tmp_path, methods, rows):
    with pytest.raises(ValueError, match="arrangements"):
        draw_matrix(tmp_path / "matrix.png", rows, methods)


def test_one_method_has_one_panel_a_family(tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr("matplotlib.axes.Axes.set_title", lambda axes, text: titles.append(text))
    rows = [ONE, replace(ONE, method="m1"), replace(ONE, family="glow")]
    draw_matrix(tmp_path / "matrix.png", rows, ("m0",))
    assert titles == ["vae: m0", "glow: m0"]
