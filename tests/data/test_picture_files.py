"""Pictures are turned as a viewer shows them, and what is left out of them is told."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fimetric.data import batches, images, load

RNG = np.random.default_rng(0)
UPRIGHT = RNG.integers(256, size=(4, 6, 3), dtype=np.uint8)
# EXIF orientation -> how the picture is stored, by the standard's words on row 0 and column 0
STORED = {
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],  # row 0 is top, column 0 is right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.transpose(1, 0, 2),  # left, top
    6: np.rot90(UPRIGHT),  # right, top
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
    8: np.rot90(UPRIGHT, -1),  # left, bottom
}


def stored(orientation: int, suffix: str = "PNG") -> bytes:
    exif, out = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    picture.save(out, suffix, exif=exif, **({"lossless": True} if suffix == "WEBP" else {}))
    return out.getvalue()


def pixels(values) -> np.ndarray:
    return values.numpy().transpose(1, 2, 0)


@pytest.mark.parametrize("orientation", STORED)
def test_pictures_are_upright_wherever_they_come_from(orientation, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    cells = []
    for suffix in ("PNG", "WEBP", "TIFF"):
        data = stored(orientation, suffix)
        (folder / f"a.{suffix.lower()}").write_bytes(data)
        cells.append({"bytes": data, "path": None})
    pq.write_table(pa.table({"image": cells}), tmp_path / "t.parquet")
    opened = [Image.open(file) for file in sorted(folder.iterdir())]
    handed = next(batches(opened, 3)).x
    for found in (load(folder).values, load(tmp_path / "t.parquet").values):
        for picture in found:
            assert (pixels(picture) == UPRIGHT).all()
    assert (pixels(load(folder / "a.png").values[0]) == UPRIGHT).all()
    for picture in handed:
        assert (pixels((picture * 255).round().byte()) == UPRIGHT).all()
    for picture in opened:
        picture.close()


def test_a_hugging_face_set_turns_its_own_pictures_and_is_not_turned_twice(tmp_path):
    import datasets

    (tmp_path / "a.png").write_bytes(stored(6))
    table = datasets.Dataset.from_dict({"image": [str(tmp_path / "a.png")]})
    found = next(batches(table.cast_column("image", datasets.Image()), 1)).x[0]
    assert (pixels((found * 255).round().byte()) == UPRIGHT).all()


def transparent(mode: str, colour: int) -> Image.Image:
    """Return a picture whose left half is fully transparent, with that colour below."""
    grey = np.full((4, 4), colour, np.uint8)
    grey[:, 2:] = 200
    alpha = np.where(np.arange(4) < 2, 0, 255).astype(np.uint8) * np.ones((4, 1), np.uint8)
    if mode == "P":
        picture = Image.fromarray(np.where(alpha > 0, 1, 0).astype(np.uint8), "P")
        picture.putpalette([colour] * 3 + [200] * 3)
        picture.info["transparency"] = 0
        return picture
    if mode in ("RGB", "L"):
        picture = Image.fromarray(grey).convert(mode)
        picture.info["transparency"] = (colour,) * 3 if mode == "RGB" else colour
        return picture
    picture = Image.fromarray(grey).convert("LA" if mode == "LA" else "RGBA")
    picture.putalpha(Image.fromarray(alpha))
    return picture


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB", "L"])
def test_colours_under_full_transparency_are_told_once_and_stay(mode, tmp_path, caplog):
    for i, colour in enumerate((90, 0, 90)):  # black below is what a neutral file has
        transparent(mode, colour).save(tmp_path / f"{i}.png")
    values = load(tmp_path, channels=1).values
    assert values[0, 0, 0].tolist() == [90, 90, 200, 200]
    assert values[1, 0, 0].tolist() == [0, 0, 200, 200]
    told = [r.getMessage() for r in caplog.records if "transparency" in r.getMessage()]
    assert len(told) == 1 and told[0].startswith("2 of 3 pictures")
    caplog.clear()
    list(batches([transparent(mode, 90), transparent(mode, 0)], 1))
    assert [r.getMessage()[:17] for r in caplog.records] == ["1 of 2 pictures h"]


def test_opaque_pictures_say_nothing(tmp_path, caplog):
    Image.new("RGBA", (4, 4), (9, 9, 9, 255)).save(tmp_path / "a.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "b.png")
    load(tmp_path)
    assert "transparency" not in caplog.text


@pytest.mark.parametrize("suffix", ["tiff", "gif", "webp", "png"])
def test_further_frames_are_told_with_file_and_number(suffix, tmp_path, caplog):
    frames = [Image.fromarray(RNG.integers(256, size=(9, 9), dtype=np.uint8)) for _ in range(4)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.png")
    assert len(load(tmp_path / f"a.{suffix}")) == 1
    assert f"a.{suffix} has 4" in caplog.text and "1 of 1 pictures" in caplog.text
    caplog.clear()
    load(tmp_path, channels=1)
    assert "1 of 2 pictures have further frames" in caplog.text
    caplog.clear()
    with Image.open(tmp_path / f"a.{suffix}") as handed:
        next(batches([handed], 1)), list(batches([handed], 1))
    assert caplog.text.count("further frames") == 1


def deep(kind: str) -> bytes:
    """Return the file of a 4x6 picture of 16 bits a channel, whose upper bytes are UPRIGHT."""
    numbers = UPRIGHT.astype(np.uint16) * 256 + RNG.integers(256, size=UPRIGHT.shape)
    if kind == "ppm":
        return b"P6 6 4 65535 " + numbers.astype(">u2").tobytes()
    if kind == "tiff":
        tags = {256: 6, 257: 4, 258: 134, 259: 1, 262: 2, 273: 140, 277: 3, 278: 4, 279: 144}
        counts = {258: 3}
        entries = [struct.pack("<HHII", t, 3, counts.get(t, 1), v) for t, v in tags.items()]
        start = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries)
        return (
            (start + bytes(4)).ljust(134, b"\0") + b"\x10\0" * 3 + numbers.astype("<u2").tobytes()
        )
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in numbers)
    head = struct.pack(">IIBBBBB", 6, 4, 16, 2, 0, 0, 0)
    parts = {b"IHDR": head, b"IDAT": zlib.compress(lines), b"IEND": b""}
    chunks = [
        struct.pack(">I", len(x)) + name + x + struct.pack(">I", zlib.crc32(name + x))
        for name, x in parts.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize("kind", ["png", "tiff", "ppm"])
def test_sixteen_bits_are_cut_to_eight_and_that_is_told_once(kind, tmp_path, caplog):
    for name in ("a", "b"):
        (tmp_path / f"{name}.{kind}").write_bytes(deep(kind))
    Image.fromarray(UPRIGHT).save(tmp_path / "c.png")
    found = load(tmp_path).values
    assert abs(pixels(found[0]).astype(int) - UPRIGHT).max() <= 1  # of a PPM it is rounded
    assert caplog.text.count("16 bits") == 1
    assert "2 of 3 pictures have 16 bits a channel: read as 8" in caplog.text
    caplog.clear()
    with Image.open(tmp_path / f"a.{kind}") as handed:
        list(batches([handed], 1))
    assert caplog.text.count("1 of 1 pictures have 16 bits") == 1
    caplog.clear()
    load(tmp_path / "c.png")
    assert "16 bits" not in caplog.text


@pytest.mark.parametrize("kind", ["jfif", "jpe", "JPG", "jp2", "avif", "pbm", "dib", "apng"])
def test_other_suffixes_are_read(kind, tmp_path):
    formats = {"jfif": "JPEG", "jpe": "JPEG", "JPG": "JPEG", "jp2": "JPEG2000", "apng": "PNG"}
    picture = Image.new("1" if kind == "pbm" else "RGB", (16, 16), 1)
    picture.save(tmp_path / f"a.{kind}", formats.get(kind))
    assert load(tmp_path).shape[1:] == load(tmp_path / f"a.{kind}").shape[1:] == (16, 16)


def damaged() -> dict[str, bytes]:
    out = io.BytesIO()
    Image.fromarray(UPRIGHT).save(out, "PNG")
    good = out.getvalue()
    huge = good[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + good[24:]
    return {"empty": b"", "cut": good[:60], "sizes": huge, "text": b"no picture", "null": bytes(99)}


@pytest.mark.parametrize("kind", damaged())
def test_damaged_pictures_are_named(kind, tmp_path):
    (tmp_path / f"{kind}.png").write_bytes(damaged()[kind])
    for place in (tmp_path, tmp_path / f"{kind}.png"):
        with pytest.raises(ValueError, match=rf"{kind}\.png is (damaged|empty)"):
            load(place)


def test_what_pillow_warns_of_is_logged_under_the_name(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (15, 10)).save(tmp_path / "large.png")
    Image.new("L", (50, 10)).save(tmp_path / "larger.png")
    load(tmp_path / "large.png")
    [said] = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert "large.png: Image size (150 pixels) exceeds limit" in said
    with pytest.raises(ValueError, match=r"larger\.png is damaged .*500 pixels"):
        load(tmp_path)


def test_a_file_above_the_limit_is_refused_by_it(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "LARGEST_FILE", 2**20)
    Image.fromarray(RNG.integers(256, size=(700, 700, 3), dtype=np.uint8)).save(tmp_path / "a.bmp")
    with pytest.raises(ValueError, match=r"a\.bmp has 1 MiB, .* up to 1 MiB"):
        load(tmp_path)
