"""One picture becomes the pixels that people see, from a file as from bytes, or a reason why not."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from graftwork.decoding import decode, quietly, remark
from graftwork.inspection import inspect
from graftwork.settings import ImageFormat

GREY, COLOUR = ImageFormat(size=8, channels=1), ImageFormat(size=8, channels=3)
SMOOTH = np.add.outer(np.arange(256), np.arange(256)) // 2


def stored(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def pixels(source: Path | bytes, image: ImageFormat = GREY) -> NDArray[np.uint8]:
    found = decode(source, image)
    assert not isinstance(found, str), found
    return found


def deep_colours(kind: str) -> bytes:
    """Return one pixel of 3 × 16 bits, which Pillow reads and can't write."""
    if kind == "png":
        rows = b"\x00" + struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
        parts = [(b"IHDR", struct.pack(">II5B", 1, 1, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
        chunks = (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
            for name, body in parts
        )
        return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
    bits_at, pixel_at = 8 + 2 + 9 * 12 + 4, 8 + 2 + 9 * 12 + 4 + 6
    tags = [(256, 1, 1), (257, 1, 1), (258, 3, bits_at), (259, 1, 1), (262, 1, 2), (273, 1, pixel_at), (277, 1, 3)]
    tags += [(278, 1, 1), (279, 1, 6)]
    fields = b"".join(struct.pack("<HHII", tag, 3, count, value) for tag, count, value in tags)
    return (
        struct.pack("<2sHIH", b"II", 42, 8, 9) + fields + struct.pack("<I3H3H", 0, 16, 16, 16, 0x1234, 0x5678, 0x9ABC)
    )


def test_bytes_are_decoded_as_the_file_that_holds_them(tmp_path: Path) -> None:
    content = stored(Image.fromarray(SMOOTH.astype(np.uint8)), "jpeg")
    (tmp_path / "a.jpg").write_bytes(content)
    assert np.array_equal(pixels(content), pixels(tmp_path / "a.jpg"))


@pytest.mark.parametrize(("image", "shape"), [(GREY, (1, 8, 8)), (COLOUR, (3, 8, 8))])
def test_pixels_have_the_format_and_lie_in_order(image: ImageFormat, shape: tuple[int, ...]) -> None:
    found = pixels(stored(Image.new("RGB", (30, 10), (10, 20, 30)), "png"), image)
    assert found.shape == shape and found.dtype == np.uint8 and found.flags.c_contiguous


def test_a_large_jpeg_is_decoded_small_and_looks_as_if_it_had_not_been() -> None:
    large = Image.fromarray(SMOOTH.astype(np.uint8)).resize((2048, 1536))
    whole = pixels(stored(large, "png")).astype(int)
    assert np.abs(pixels(stored(large, "jpeg", quality=95)) - whole).max() <= 2


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("L", (9, 9), level) for level in (40, 90)]
    assert (pixels(stored(frames[0], "gif", save_all=True, append_images=frames[1:])) == 40).all()


def test_what_decoding_leaves_out_is_counted_and_nothing_else(tmp_path: Path) -> None:
    frames = [Image.new("L", (9, 9), level) for level in (40, 90)]
    deep, jpeg = Image.fromarray(np.full((9, 9), 0x80FF, np.uint16)), stored(frames[0], "jpeg")
    (tmp_path / "a.jpg").write_bytes(jpeg + b"what a camera adds")
    cut = [jpeg[:-2], jpeg[:-1]]
    animated = stored(frames[0], "gif", save_all=True, append_images=frames[1:])
    plain = [jpeg, tmp_path / "a.jpg", stored(frames[0], "gif"), stored(frames[0], "png")]
    assert all((pixels(source) == 40).all() for source in [*plain, *cut])
    sources = [*plain, *cut, animated, stored(deep, "png"), b"cut", "not there"]
    found = inspect(sources.__getitem__, len(sources), GREY)
    assert found.remarks == {
        "that end before their end marker": 2,
        "animated, of which the first frame is read": 1,
        "of 16 bits, of which 8 are read": 1,
    }
    assert found.faults == [""] * (len(sources) - 2) + ["not an image", "not there"]


@pytest.mark.parametrize("kind", ["png", "tiff"])
@pytest.mark.parametrize("deep", [False, True])
def test_depth_that_is_lost_is_told_of_colours_too(kind: str, deep: bool) -> None:
    source = deep_colours(kind) if deep else stored(Image.new("RGB", (9, 9), (1, 2, 3)), kind)
    assert not isinstance(decode(source, COLOUR), str)
    assert remark(source) == ("of 16 bits, of which 8 are read" if deep else "")


@pytest.mark.parametrize("values", [[0, 255], [-5, 3000], [0, 70_000], [0.0, 1.0], [0.0, 255.0]], ids=str)
def test_of_32_bits_the_range_is_not_guessed(values: list[int] | list[float]) -> None:
    cells = np.resize(np.array(values, np.float32 if isinstance(values[1], float) else np.int32), (9, 9))
    found = decode(stored(Image.fromarray(cells), "tiff"), GREY)
    assert isinstance(found, str) and "no known range: store 8 or 16 bits" in found


def test_of_32_bits_those_of_16_in_wider_cells_are_read_as_such() -> None:
    for value, expected in ((0x80FF, 0x80), (0xFFFF, 255), (0, 0)):
        cells = np.full((9, 9), value)
        narrow, wide = (stored(Image.fromarray(cells.astype(kind)), "tiff") for kind in (np.uint16, np.int32))
        assert (pixels(wide) == expected).all() and np.array_equal(pixels(wide), pixels(narrow))


def test_an_animation_that_is_cut_behind_its_first_frame_is_read_and_told_of() -> None:
    frames = [Image.fromarray(np.roll(SMOOTH[:40, :40], shift, axis=1).astype(np.uint8)) for shift in (0, 9, 20)]
    whole = stored(frames[0], "gif", save_all=True, append_images=frames[1:])
    told = set()
    for length in range(20, len(whole)):
        if not isinstance(decode(whole[:length], GREY), str):
            told.add(remark(whole[:length]))
    assert told == {"", "damaged behind their first frame, which is read", "animated, of which the first frame is read"}


def test_a_jpeg_without_its_end_is_read_and_one_that_is_cut_is_not() -> None:
    whole = stored(Image.fromarray(SMOOTH.astype(np.uint8)), "jpeg")
    for lost in (1, 2):
        assert np.array_equal(pixels(whole[:-lost]), pixels(whole))
    for lost in (8, 50, len(whole) // 2):
        assert "truncated" in str(decode(whole[:-lost], GREY))


def test_a_picture_of_one_pixel_fills_the_square() -> None:
    assert (pixels(stored(Image.new("L", (1, 1), 7), "png")) == 7).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty file"), (b"<html>404</html>", "not an image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image")],
)
def test_what_is_no_picture_says_so(content: bytes, reason: str) -> None:
    assert decode(content, GREY) == reason


@pytest.mark.parametrize("side", [8000, 14000])  # the latter is beyond Pillow's own limit, too
def test_too_many_pixels_are_refused_from_the_header(side: int) -> None:
    claims = struct.pack(">4sII5B", b"IHDR", side, side, 8, 0, 0, 0, 0)
    small = stored(Image.new("L", (8, 8)), "png")
    with quietly():
        found = decode(small[:12] + claims + struct.pack(">I", zlib.crc32(claims)) + small[33:], GREY)
    assert isinstance(found, str) and "pixels" in found


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "gif", "tiff"])
def test_damaged_bytes_give_pixels_or_a_reason_and_never_an_error(kind: str) -> None:
    whole, rng = stored(Image.fromarray(SMOOTH[:64, :64].astype(np.uint8)), kind), np.random.default_rng(0)
    with quietly():
        for _ in range(60):
            damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
            for place in rng.integers(0, len(damaged), 5):
                damaged[place] = rng.integers(256)
            found = decode(bytes(damaged), COLOUR)
            assert found if isinstance(found, str) else found.shape == (3, 8, 8)
            if not isinstance(found, str):
                remark(bytes(damaged))


def test_a_colour_jpeg_made_grey_is_what_its_colours_give() -> None:
    channels = [np.roll(SMOOTH, shift, axis=1) for shift in (0, 40, 90)]
    coloured = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    found = pixels(stored(coloured, "jpeg", quality=95)).astype(int)
    assert np.abs(found - pixels(stored(coloured, "png"))).max() <= 4


def test_a_jpeg_on_its_side_is_turned_also_where_it_is_decoded_small_and_grey() -> None:
    coloured = Image.fromarray(np.stack([SMOOTH, SMOOTH, 255 - SMOOTH], axis=-1).astype(np.uint8)).crop(
        (0, 0, 200, 120)
    )
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by a quarter, clockwise
    found = pixels(stored(coloured, "jpeg", quality=95, exif=exif)).astype(int)
    assert np.abs(found - pixels(stored(coloured.rotate(-90, expand=True), "png"))).max() <= 4
