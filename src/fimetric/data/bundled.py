"""Three small sets of 8x8 grey pictures made from what ships with the dependencies: no download.

``digits``: 1,797 hand-written digits (scikit-learn; Alpaydin and Kaynak, 1998, Optical Recognition
of Handwritten Digits, UCI Machine Learning Repository). ``patches``: pieces of scikit-learn's two
sample photographs. ``letters``: the Latin letters in matplotlib's DejaVu fonts. All are
deterministic.
"""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

NAMES = ("digits", "patches", "letters")
SIDE = 8
TRAIN = 1197  # of the 1,797 digits; 600 are left for the test
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def load(name: str, split: str) -> np.ndarray:
    """Return uint8 (N, 8, 8) of ``digits``, ``patches`` or ``letters``; split is train or test.

    Raises:
        ValueError: for another name or split.
    """
    makers = {"digits": _digits, "patches": _patches, "letters": _letters}
    if name not in makers:
        raise ValueError(f"no bundled data are called {name!r}; there are {', '.join(NAMES)}")
    if split not in ("train", "test"):
        raise ValueError(f"{name} has no split {split!r}; it has train, test")
    return makers[name](split).copy()


@cache
def _digits(split: str) -> np.ndarray:
    from sklearn.datasets import load_digits

    levels = load_digits().images  # 0..16
    order = np.random.default_rng(0).permutation(len(levels))
    chosen = order[:TRAIN] if split == "train" else order[TRAIN:]
    return np.round(levels[chosen] * 255 / 16).astype(np.uint8)


@cache
def _patches(split: str) -> np.ndarray:
    """Cut at random places, for training in the left three quarters of a photograph."""
    number, rng = (
        (1200, np.random.default_rng(1)) if split == "train" else (600, np.random.default_rng(2))
    )
    photographs = [_photograph(i) for i in range(2)]
    patches = []
    for i in range(number):
        picture = photographs[i % 2]
        border = picture.shape[1] * 3 // 4
        low, high = (0, border) if split == "train" else (border, picture.shape[1])
        top = rng.integers(picture.shape[0] - SIDE + 1)
        left = rng.integers(low, high - SIDE + 1)
        patches.append(picture[top : top + SIDE, left : left + SIDE])
    return np.stack(patches)


def _photograph(index: int) -> np.ndarray:
    """Return a photograph in grey, reduced threefold by a box filter: patches then have content."""
    from sklearn.datasets import load_sample_images

    image = Image.fromarray(load_sample_images().images[index]).convert("L")
    return np.asarray(image.reduce(3))


@cache
def _letters(split: str) -> np.ndarray:
    """Draw letters white on black, with seeded font, size and place."""
    number, rng = (
        (1200, np.random.default_rng(3)) if split == "train" else (600, np.random.default_rng(4))
    )
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    pictures = []
    for i in range(number):
        font = ImageFont.truetype(
            str(folder / f"{FONTS[rng.integers(len(FONTS))]}.ttf"), int(rng.integers(7, 10))
        )
        image = Image.new("L", (SIDE, SIDE))
        place = (SIDE / 2 + rng.integers(-1, 2) / 2, SIDE / 2 + rng.integers(-1, 2) / 2)
        letter = LETTERS[i % len(LETTERS)]
        ImageDraw.Draw(image).text(place, letter, fill=255, font=font, anchor="mm")
        pictures.append(np.asarray(image))
    return np.stack(pictures)[rng.permutation(number)]
