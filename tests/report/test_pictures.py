import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from fimetric.report import pictures

RANDOM = np.random.default_rng(0)
SCORES = {
    "plain": {"own": RANDOM.normal(size=50), "other": RANDOM.normal(2, size=40)},
    "alike": {"own": np.full(5, 1e7), "other": np.full(4, 1e7)},
    "infinite": {"own": np.array([1.0, 2.0, 3.0]), "other": np.array([np.inf, np.inf])},
    "all infinite": {"own": np.full(3, np.inf), "other": np.full(3, np.inf)},
    "single": {"own": np.array([1.0]), "other": np.array([2.0])},
}


@pytest.mark.parametrize("kind", SCORES)
@pytest.mark.parametrize("draw", [pictures.score_histograms, pictures.roc_curves])
def test_scores_of_any_kind_are_drawn(tmp_path, draw, kind):
    draw(tmp_path / "a.png", {kind: SCORES[kind]}, "own", 5)
    with Image.open(tmp_path / "a.png") as picture:
        assert len(picture.convert("L").getcolors()) > 10
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


def test_roc_curve_has_the_area_of_its_legend():
    for sets in SCORES.values():
        axes = Figure().subplots()
        pictures._roc(axes, "a", sets, "own")
        line = axes.lines[-1]
        area = np.trapezoid(line.get_ydata(), line.get_xdata())
        assert line.get_label() == f"other {area:.3f}"
        assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 0)
        assert (line.get_xdata()[-1], line.get_ydata()[-1]) == (1, 1)


def test_histograms_count_every_sample():
    for sets in SCORES.values():
        axes = Figure().subplots()
        pictures.histograms(axes, sets)
        assert [text.get_text() for text in axes.get_legend().get_texts()] == list(sets)
        for outline in axes.patches:
            assert outline.get_data().values.sum() == pytest.approx(1)


@pytest.mark.parametrize(("low", "scale"), [(0.1, "log"), (30.0, "linear"), (-9.0, "linear")])
def test_numbers_of_many_sizes_are_drawn_over_their_logarithm(low, scale):
    axes = Figure().subplots()
    pictures.histograms(axes, {"own": np.linspace(low, 40, 50), "other": np.linspace(40, 2000, 50)})
    assert axes.get_xscale() == scale
    for outline in axes.patches:
        assert outline.get_data().values.sum() == pytest.approx(1)


def test_an_interrupted_picture_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pictures.roc_curves(target, {"plain": SCORES["plain"]}, "own")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_sample_grids_keep_their_colours(tmp_path, channels, mode):
    images = RANDOM.random((7, channels, 8, 8)).astype(np.float32)
    pictures.sample_grid(tmp_path / "a.png", images, "samples", columns=4)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.mode == mode
        shown = {np.atleast_1d(colour).tobytes() for _, colour in picture.getcolors(1 << 24)}
    pixels = (images * 255).astype(np.uint8)  # as matplotlib rounds them
    wanted = {
        np.atleast_1d(p.astype(int)).tobytes() for x in pixels for p in x.reshape(channels, -1).T
    }
    assert len(wanted & shown) > 0.9 * len(wanted)


def test_a_palette_keeps_a_picture_as_it_looks(tmp_path):
    figure = Figure(figsize=(3, 3))
    axes = figure.subplots()
    axes.scatter(*RANDOM.random((2, 300)), c=RANDOM.random(300), cmap="PuOr", alpha=0.5)
    figure.savefig(tmp_path / "plain.png", dpi=110)
    pictures.save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as small, Image.open(tmp_path / "plain.png") as plain:
        assert small.mode == "P"
        kept, drawn = (np.asarray(x.convert("RGB"), float) for x in (small, plain))
    assert np.abs(kept - drawn).mean() < 2  # of 255
    assert np.abs(kept - drawn).max() < 64
    assert (tmp_path / "a.png").stat().st_size < 0.5 * (tmp_path / "plain.png").stat().st_size


def test_other_formats_are_left_as_they_are(tmp_path):
    figure = Figure()
    pictures.save(figure, tmp_path / "a.PDF")
    assert (tmp_path / "a.PDF").read_bytes().startswith(b"%PDF")


def test_a_palette_keeps_the_colours_of_areas(tmp_path):
    figure = Figure(figsize=(3, 3), facecolor="#FFFFFF")
    axes = figure.subplots()
    axes.imshow(RANDOM.random((40, 40)), cmap="PuOr")
    axes.axvspan(20, 40, color="#CC79A7")
    pictures.save(figure, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as picture:
        shown = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    for colour in ([255, 255, 255], [0xCC, 0x79, 0xA7]):
        assert (shown == colour).all(axis=1).mean() > 0.1
