"""From picture files, PIL images and uint8 arrays to uint8 (N, C, H, W), all of one size."""

import io
import logging
import warnings
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from fimetric.arguments import whole_or_none

log = logging.getLogger(__name__)
LARGEST_FILE = 256 * 2**20  # bytes of a picture's file; Pillow itself refuses 179 million pixels
FORMATS = ("JPEG", "JPEG2000", "AVIF", "PNG", "BMP", "DIB", "GIF", "TIFF", "WEBP", "PPM", "MPO")
GREY_MODES, COLOUR_MODES = ("1", "L", "LA"), ("RGB", "RGBA", "P", "CMYK", "YCbCr", "HSV")
DEEP = "16 bits a channel"  # an entry of a picture's info, which stays when it is loaded
Size = int | tuple[int, int]


@cache
def suffixes() -> tuple[str, ...]:
    """Return the suffixes of the picture files that are read, as far as this Pillow can."""
    known = Image.registered_extensions()
    return tuple(k for k, kind in known.items() if kind in FORMATS and k != ".pfm")  # floats


def decode(source: bytes | Path, name: str) -> Image.Image:
    """Return the first frame of a picture from the bytes of its file, or from the file.

    What Pillow warns of is logged under the name.

    Raises:
        ValueError: naming a picture that is damaged, or a file of more than ``LARGEST_FILE`` bytes.
    """
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    if size > LARGEST_FILE:
        raise ValueError(
            f"{name} has {size >> 20} MiB, and pictures are read up to {LARGEST_FILE >> 20} MiB; "
            "store a smaller one"
        )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            data = source if isinstance(source, bytes) else source.read_bytes()
            image = Image.open(io.BytesIO(data))
            if _is_deep(image):
                image.info[DEEP] = True
            image.load()
        except UnidentifiedImageError as error:  # it names an object in memory
            raise ValueError(f"{name} is damaged or no picture; repair or remove it") from error
        except Exception as error:  # damaged headers end in a dozen kinds
            raise ValueError(
                f"{name} is damaged or no picture ({error}); repair or remove it"
            ) from error
    for each in said:
        log.warning("%s: %s", name, each.message)
    return image


def check_target(size: Any, channels: Any) -> None:
    """Refuse a size and a number of channels that no picture can be brought to.

    Raises:
        TypeError: for a size that is no whole number and no two of them.
        ValueError: for a side below 1, or channels other than 1 and 3.
    """
    sides = size if isinstance(size, tuple | list) else (size, size)
    if isinstance(size, str) or len(sides) != 2:
        raise TypeError(f"size must be a side, or (height, width), in pixels, not {size!r}")
    for side in sides:
        whole_or_none("size", side)
    if channels not in (None, 1, 3):
        raise ValueError(f"channels must be 1 (grey) or 3 (RGB), got {channels}")


class Pictures:
    """Turns pictures into arrays of pixels, and counts what is left out on the way.

    Arguments:
        size: Resize bilinearly to this side, or (height, width). Without it, grey pictures of
            28x28 become 32x32, and all others stay as they are.
        channels: 1 for grey (luminance), 3 for RGB; without it they stay as they are.
    """

    def __init__(self, size: Size | None = None, channels: int | None = None) -> None:
        self.size, self.channels = size, channels
        self.seen = self.hiding = self.deep = 0
        self.frames: dict[str, int] = {}

    def array(self, image: Image.Image, name: str) -> np.ndarray:
        """Return uint8 (C, H, W) of a picture, turned as its EXIF orientation says.

        Raises:
            ValueError: naming a picture that is not 8-bit, or whose EXIF data are damaged.
        """
        self._count(image, name)
        return to_array(_upright(image, name), name, self.size, self.channels)

    def _count(self, image: Image.Image, name: str) -> None:
        self.seen += 1
        self.deep += _is_deep(image)
        self.hiding += _hides_colour(image)
        frames = _frames(image, name)
        if frames > 1:
            self.frames[name] = frames

    def tell(self) -> None:
        """Log, once for all pictures, what was left out of them."""
        if self.frames:
            name, frames = next(iter(self.frames.items()))
            log.warning(
                "%d of %d pictures have further frames, which are left out (%s has %d); store "
                "each frame as a file to have them all",
                len(self.frames),
                self.seen,
                name,
                frames,
            )
        if self.deep:
            log.warning(
                "%d of %d pictures have 16 bits a channel: read as 8, the lower ones are left out",
                self.deep,
                self.seen,
            )
        if self.hiding:
            log.warning(
                "%d of %d pictures have colours under full transparency; transparency is left "
                "out, so that the model sees what no viewer shows: flatten them first, or let "
                "them be so in all data",
                self.hiding,
                self.seen,
            )


def _upright(image: Image.Image, name: str) -> Image.Image:
    try:
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) != 1
        return ImageOps.exif_transpose(image) if turned else image  # it copies
    except Exception as error:
        raise ValueError(
            f"{name} has damaged EXIF data ({error}); store it without, or remove it"
        ) from error


def _frames(image: Image.Image, name: str) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception as error:
        raise ValueError(
            f"{name} is damaged after its first frame ({error}); repair or remove it"
        ) from error


def _is_deep(image: Image.Image) -> bool:
    """Return whether Pillow cuts a picture's 16 bits a channel to 8, as its raw mode tells."""
    if DEEP in image.info:
        return True
    deep = False
    for tile in getattr(image, "tile", ()):  # none once it is loaded
        largest = tile.args[-1] if image.format == "PPM" and isinstance(tile.args, tuple) else 0
        deep |= ";16" in str(tile.args) or (isinstance(largest, int) and largest > 255)
    return deep and image.mode in GREY_MODES + COLOUR_MODES


def _hides_colour(image: Image.Image) -> bool:
    """Return whether a pixel that is fully transparent has a colour other than black."""
    if image.mode not in GREY_MODES + COLOUR_MODES or not image.has_transparency_data:
        return False
    pixels = np.asarray(image.convert("RGBA"))
    return bool((pixels[..., :3].any(-1) & (pixels[..., 3] == 0)).any())


def to_array(image: Image.Image, name: str, size: Size | None, channels: int | None) -> np.ndarray:
    """Return uint8 (C, H, W) of a picture.

    Without ``size``, grey 28x28 pictures become 32x32, all others stay as they are. Resizing is
    bilinear; grey is luminance.

    Raises:
        ValueError: for pixels that are neither 8-bit grey nor colour.
    """
    if image.mode not in GREY_MODES + COLOUR_MODES:
        raise ValueError(
            f"{name} has pixels of mode {image.mode}, not 8-bit grey or colour; convert it"
        )
    grey = channels == 1 or (channels is None and image.mode in GREY_MODES)
    if size is None and image.mode in GREY_MODES and image.size == (28, 28):
        size = 32
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow would warn
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        height, width = size if isinstance(size, tuple | list) else (size, size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if grey else pixels.transpose(2, 0, 1)


def stack(
    images: Iterable[tuple[str, Image.Image]], size: Size | None, channels: int | None
) -> Tensor:
    """Return uint8 (N, C, H, W) of named pictures, and log what was left out of them.

    Raises:
        ValueError: where two differ in size or channels, naming both and what to pass.
    """
    pictures = Pictures(size, channels)
    arrays: list[np.ndarray] = []
    first = ""
    for name, image in images:
        array = pictures.array(image, name)
        first = first or name
        if arrays and array.shape != arrays[0].shape:
            raise ValueError(
                f"pictures differ: {first} is {_words(arrays[0])}, {name} is {_words(array)}; "
                "pass size=... and channels=... to make them alike"
            )
        arrays.append(array)
    if not arrays:
        raise ValueError("there are no pictures")
    pictures.tell()
    return torch.from_numpy(np.stack(arrays))


def _words(array: np.ndarray) -> str:
    C, H, W = array.shape
    return f"{H}x{W} (height x width) {'grey' if C == 1 else 'RGB'}"


def layout(array: np.ndarray, name: str) -> np.ndarray:
    """Return uint8 (N, C, H, W) of (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3.

    Raises:
        ValueError: for another shape, or one that fits both of the latter.
    """
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
