"""What a model has to beat to have learned anything: simple codes of images and of texts."""

import io
import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from fimetric.data import Samples, Texts
from fimetric.data.kinds import like_picture

BYTE = 8 * math.log(2)  # nats
Pixels = NDArray[np.uint8]


def simple_codes(fit: Samples, test: Samples) -> dict[str, float]:
    """Return what simple codes need for pictures or texts; of other samples there are none.

    Arguments:
        fit: samples that the codes learn from.
        test: samples that they are measured on.

    Returns:
        name of the code -> its mean length, in bits per dimension of pictures, per byte of texts.
    """
    if isinstance(fit, Texts) and isinstance(test, Texts):
        single = unigram_bits_per_byte(fit, test)
        return {"single bytes": single, "zlib": zlib_bits_per_byte(test)}
    if test.pictures:
        gaussian = gaussian_bits_per_dim(fit, test)
        return {"per-pixel Gaussian": gaussian, "PNG": png_bits_per_dim(test)}
    return {}


def gaussian_bits_per_dim(train: Samples | Tensor, test: Samples | Tensor) -> float:
    """Return the code length of ``test`` under one independent Gaussian for each pixel.

    Mean and deviation of each pixel are those of ``train``; the Gaussian is integrated over each
    of the 256 levels, the outermost bins being open, so it is the length of a code that exists.
    One deviation for all, the floor, is mixed in so that a pixel that is constant in ``train``
    costs few bits without being infinitely dear elsewhere: it is the floor that codes ``train``
    best.

    Arguments:
        train, test: 8-bit images, Samples or float (N, C, H, W) = k/255.

    Raises:
        ValueError: for images of different shapes, or values off the grid k/255.
    """
    fit, new = levels_of(train), levels_of(test)
    if fit.shape[1:] != new.shape[1:]:
        raise ValueError(
            f"shapes differ: train {tuple(fit.shape[1:])}, test {tuple(new.shape[1:])}"
        )
    mean, variance = fit.mean(0), fit.var(0, correction=0)
    floors = torch.logspace(-2, 2, 17, dtype=torch.float64)  # deviations, in levels
    costs = [_gaussian_bits(fit, mean, (variance + f**2).sqrt()) for f in floors]
    floor = floors[int(torch.tensor(costs).argmin())]
    return _gaussian_bits(new, mean, (variance + floor**2).sqrt())


def _gaussian_bits(x: Tensor, mean: Tensor, deviation: Tensor) -> float:
    centred = -(x - mean).abs()  # lower tail by symmetry: a difference of tiny numbers, not of ones
    below = torch.special.log_ndtr((centred - 0.5) / deviation)
    upto = torch.special.log_ndtr((centred + 0.5) / deviation)
    inside = upto + torch.log(-torch.expm1(below - upto))
    left = torch.special.log_ndtr((x + 0.5 - mean) / deviation)
    right = torch.special.log_ndtr((mean - x + 0.5) / deviation)
    log_p = torch.where(x == 0, left, torch.where(x == 255, right, inside))
    return (-log_p / math.log(2)).mean().item()


def png_bits_per_dim(test: Samples | Tensor) -> float:
    """Return the mean length of the images as optimised PNG files, headers included.

    Portable Network Graphics (W3C recommendation, 3rd edition, 2025); an image by itself, so
    nothing is shared between the files. ``test`` is 8-bit grey or RGB images, Samples or float (N,
    C, H, W) = k/255.

    Raises:
        ValueError: for other than one or three channels, or values off the grid k/255.
    """
    levels = levels_of(test).numpy().astype(np.uint8)
    return 8 * sum(png_length(picture(pixels)) for pixels in levels) / levels.size


def unigram_bits_per_byte(train: Texts, test: Texts) -> float:
    """Return the mean code length of texts by the frequency of each byte, in bits per byte.

    Each of the 256 bytes counts once more than it stands in ``train``, so that any text has a code.
    """
    counts = 1 + np.bincount(np.concatenate([_bytes_of(t) for t in train.texts]), minlength=256)
    costs = np.log2(counts.sum() / counts)
    return float(np.mean([costs[_bytes_of(text)].mean() for text in test.texts]))


def zlib_bits_per_byte(test: Texts) -> float:
    """Return the mean length of each text by itself as zlib packs it best, in bits per byte.

    Its header and checksum of 6 bytes are included. ZLIB Compressed Data Format Specification
    version 3.3 (Deutsch and Gailly, 1996), RFC 1950.
    """
    sizes = [(len(zlib.compress(x.tobytes(), 9)), len(x)) for x in map(_bytes_of, test.texts)]
    return float(np.mean([8 * packed / size for packed, size in sizes]))


def _bytes_of(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)


def compressors() -> dict[str, Callable[[Pixels], int]]:
    """Return name -> bytes of 8-bit pixels (C, H, W), C being 1 or 3, headers included.

    ``png`` is the optimised file, ``jpeg2000`` the codestream of the reversible wavelet (left out
    where Pillow was built without OpenJPEG), ``zlib`` the planes at the highest level.
    """
    found: dict[str, Callable[[Pixels], int]] = {"png": lambda pixels: png_length(picture(pixels))}
    if features.check("jpg_2000"):
        found["jpeg2000"] = lambda pixels: jpeg2000_length(picture(pixels))
    found["zlib"] = lambda pixels: len(zlib.compress(pixels.tobytes(), 9))
    return found


def signature() -> dict[str, int]:
    """Return name of a compressor -> bytes of one fixed picture, by which builds differ.

    What a compressor makes of a picture hangs on who built it, so lengths of one library are no
    measure for those of another.
    """
    rows, columns = np.indices((32, 32))
    rough = ((rows * 73 ^ columns * 151) * 2654435761 >> 12) % 4  # matches are hard to find
    planes = [8 * rows + rough, 8 * columns + rough, rows * columns // 4 + rough]
    pixels = np.stack(planes).astype(np.uint8)
    return {name: length(pixels) for name, length in compressors().items()}


def code_lengths(levels: Tensor) -> dict[str, Tensor]:
    """Return name of a compressor -> what each picture takes, (N,) in nats, float64, on the CPU.

    Arguments:
        levels: 0..255, (N, C, H, W), as ``levels_of`` gives them.

    Raises:
        ValueError: for other than one or three channels.
    """
    images = levels.cpu().numpy().astype(np.uint8)
    found = {name: [length(each) for each in images] for name, length in compressors().items()}
    return {name: BYTE * torch.tensor(n, dtype=torch.float64) for name, n in found.items()}


def picture_codes(x: Tensor) -> dict[str, Tensor]:
    """Return what ``code_lengths`` does of samples that are pictures by their shape; else nothing.

    A picture is coded by the nearest levels k/255. One with values outside [0, 1] has nan: which
    names there are must not hang on values, which differ from batch to batch.

    Arguments:
        x: samples (N, ...); floats (N, 1 or 3, H, W) may be pictures.
    """
    if not x.is_floating_point() or not like_picture(x.shape[1:]) or not x.numel():
        return {}
    levels = (x.detach().cpu().double() * 255).round()
    fine = ((levels >= 0) & (levels <= 255)).flatten(1).all(1)
    found = code_lengths(levels.where(fine[:, None, None, None], 0))
    return {name: numbers.where(fine, torch.nan) for name, numbers in found.items()}


def text_code(texts: Sequence[str]) -> Tensor:
    """Return what texts take as zlib packs each by itself at level 6, (N,) in nats, float64."""
    sizes = [len(zlib.compress(text.encode("utf-8", "surrogatepass"), 6)) for text in texts]
    return BYTE * torch.tensor(sizes, dtype=torch.float64)


def jpeg2000_length(image: Image.Image) -> int:
    """Return the bytes of an image as a lossless JPEG-2000 codestream."""
    return file_length(image, "JPEG2000", irreversible=False, no_jp2=True)


def png_length(image: Image.Image) -> int:
    """Return the bytes of an image as an optimised PNG file."""
    return file_length(image, "PNG", optimize=True)


def file_length(image: Image.Image, kind: str, **options: Any) -> int:
    """Return the bytes of an image as a file of a kind that Pillow writes."""
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.tell()


def picture(pixels: Pixels) -> Image.Image:
    """Return levels (C, H, W) as a grey or RGB image.

    Raises:
        ValueError: for other than one or three channels.
    """
    if len(pixels) not in (1, 3):
        raise ValueError(f"PNG and its like take 1 or 3 channels, got {len(pixels)}")
    return Image.fromarray(
        pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
    )


def levels_of(data: Samples | Tensor) -> Tensor:
    """Return the levels 0..255 of 8-bit images as float64 (N, C, H, W).

    Raises:
        ValueError: for another number of dimensions, or values off the grid k/255.
    """
    x = data.tensor() if isinstance(data, Samples) else data
    if x.ndim != 4:
        raise ValueError(f"images are (N, C, H, W), got shape {tuple(x.shape)}")
    levels, fine = _rounded(x)
    if not fine.all():
        raise ValueError("a code length needs 8-bit images: values k/255 in [0, 1]")
    return levels


def _rounded(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the nearest levels of x (N, C, H, W), and which samples (N,) are on the grid k/255."""
    values = x.double() * 255
    levels = values.round()
    fine = ((values - levels).abs() < 1e-3) & (levels >= 0) & (levels <= 255)
    return levels, fine.flatten(1).all(1)
