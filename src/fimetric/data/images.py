"""From picture files, PIL images and uint8 arrays to uint8 (N, C, H, W), all of one size."""

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm")
GREY_MODES, COLOUR_MODES = ("1", "L", "LA"), ("RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV")
Size = int | tuple[int, int]


def decode(source: bytes | Path, name: str) -> Image.Image:
    """Return a picture from the bytes of its file, or from the file.

    Raises:
        ValueError: naming a picture that is damaged, or that is not 8-bit.
    """
    try:
        image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{name} is damaged or no picture ({error}); repair or remove it"
        ) from error
    return image


def to_array(image: Image.Image, name: str, size: Size | None, channels: int | None) -> np.ndarray:
    """Return uint8 (C, H, W) of a picture.

    Without ``size``, grey 28x28 pictures become 32x32, all others stay as they are. Resizing is
    bilinear; grey is luminance.
    """
    if image.mode not in GREY_MODES + COLOUR_MODES:
        raise ValueError(
            f"{name} has pixels of mode {image.mode}, not 8-bit grey or colour; convert it"
        )
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")
    grey = channels == 1 or (channels is None and image.mode in GREY_MODES)
    if size is None and image.mode in GREY_MODES and image.size == (28, 28):
        size = 32
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if height < 1 or width < 1:
            raise ValueError(f"size must be positive, got {size}")
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def stack(
    images: Iterable[tuple[str, Image.Image]], size: Size | None, channels: int | None
) -> Tensor:
    """Return uint8 (N, C, H, W) of named pictures.

    Raises:
        ValueError: where two differ in size or channels, naming both and what to pass.
    """
    arrays: list[np.ndarray] = []
    first = ""
    for name, image in images:
        array = to_array(image, name, size, channels)
        first = first or name
        if arrays and array.shape != arrays[0].shape:
            raise ValueError(
                f"pictures differ: {first} is {_words(arrays[0])}, {name} is {_words(array)}; "
                "pass size=... and channels=... to make them alike"
            )
        arrays.append(array)
    if not arrays:
        raise ValueError("there are no pictures")
    return torch.from_numpy(np.stack(arrays))


def _words(array: np.ndarray) -> str:
    C, H, W = array.shape
    return f"{H}x{W} (height x width) {'grey' if C == 1 else 'RGB'}"


def layout(array: np.ndarray, name: str) -> np.ndarray:
    """Return uint8 (N, C, H, W) of (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3."""
    if array.ndim == 3:
        return array[:, None]
    if array.ndim == 4:
        first, last = array.shape[1] in (1, 3), array.shape[3] in (1, 3)
        if first != last:
            return array if first else array.transpose(0, 3, 1, 2)
    raise ValueError(
        f"{name} holds uint8 of shape {array.shape}; images are (N, H, W), (N, H, W, C) or "
        "(N, C, H, W) with C = 1 or 3, and just one of the latter two must fit"
    )


def pictures(array: np.ndarray) -> Iterable[Image.Image]:
    """Yield PIL images of uint8 (N, C, H, W)."""
    for pixels in array:
        grey = len(pixels) == 1
        yield Image.fromarray(
            np.ascontiguousarray(pixels[0] if grey else pixels.transpose(1, 2, 0))
        )
