import numpy as np
import pytest
from PIL import Image

from fimetric.claims.pictures.invariance import change_histogram, correlation_maps


def assert_picture(path) -> None:
    with Image.open(path) as image:
        assert min(image.size) > 100
        assert len(np.unique(np.asarray(image))) > 10  # something is drawn


@pytest.mark.parametrize("bits", [np.linspace(-1, 2, 50), np.zeros(3), np.array([0.5])])
def test_a_histogram_is_a_picture(tmp_path, bits):
    change_histogram(tmp_path / "x.png", bits, "RGB to HSV", "squares")
    assert_picture(tmp_path / "x.png")


@pytest.mark.parametrize("maps", [1, 2])
def test_maps_of_correlations_are_a_picture(tmp_path, maps):
    values = np.array([[1.0, -0.3, np.nan], [-0.3, 1.0, 0.9], [np.nan, 0.9, 1.0]])
    named = {f"score {k}": values for k in range(maps)}
    correlation_maps(tmp_path / "x.png", ["RGB", "HSV", "RGB, other seed"], named)
    assert_picture(tmp_path / "x.png")
