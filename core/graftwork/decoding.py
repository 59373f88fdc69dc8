"""Decode one picture, from a file or from bytes, into the pixels that a model gets."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, TiffImagePlugin, UnidentifiedImageError

from graftwork.errors import SettingsError
from graftwork.images import Pixels
from graftwork.settings import ImageFormat

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")  # Pillow decodes dozens more; none is needed
EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".gif", ".tif", ".tiff")  # theirs
MOST_PIXELS = 50_000_000
THREADS = min(16, os.cpu_count() or 1)  # Pillow decodes without the GIL; how many decode changes no bit
JPEG_BEGIN, JPEG_END, TAIL_BYTES = b"\xff\xd8", b"\xff\xd9", 1 << 16


def decode(source: Path | bytes, image: ImageFormat) -> Pixels | str:
    """Return pixels (C, H, W), the centre square resized; or why the picture can't be read.

    Turned as its EXIF says, on white where it is transparent, the first frame, the upper 8 of 16 bits; 32 bits have no
    range of their own, so that nobody knows what is black and what white: they aren't read. A JPEG is decoded at 2 to 4
    times the size, where it is larger (its blocks scaled by 1/2, 1/4 or 1/8), and without its colours where grey is
    asked for; an antialiased bicubic resize follows. Training, evaluation and `predict` all see these very pixels. The
    number of pixels is read from the header and capped before any is decoded. A JPEG that lacks nothing but its end
    marker is read. Call it in `quietly`.
    """
    try:
        return _pixels(source, image)
    except UnidentifiedImageError:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        return "not an image" if size else "empty file"
    except Exception as error:  # damaged bytes make Pillow raise nearly anything, IndexError and struct.error among it
        whole = _with_its_end(source) if "truncated" in str(error) else None
        return str(error) or type(error).__name__ if whole is None else _pixels(whole, image)


def _pixels(source: Path | bytes, image: ImageFormat) -> Pixels | str:
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            return f"{opened.width}×{opened.height} pixels, more than {MOST_PIXELS:,}"
        # Down to 1 time the size would be twice as fast for some, and moves pixels by 2 to 3 of 255 levels
        opened.draft("L" if image.channels == 1 else None, (2 * image.size, 2 * image.size))
        ImageOps.exif_transpose(opened, in_place=True)
        converted = _to_channels(opened, image.channels)
        square = ImageOps.fit(converted, (image.size, image.size), method=Image.Resampling.BICUBIC)
    pixels = np.asarray(square, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _with_its_end(source: Path | bytes) -> bytes | None:
    """Return a JPEG that lacks nothing but its end marker, with it; None for one that is cut, or no JPEG.

    Of a whole one the pixels don't hang on what stands between its data and the marker; of one that is cut, they do.
    """
    content = source.read_bytes() if isinstance(source, Path) else source
    if not content.startswith(JPEG_BEGIN) or JPEG_END in content[-TAIL_BYTES:]:
        return None
    ends = [content.rstrip(b"\xff") + 64 * padding + JPEG_END for padding in (b"\x00", b"\x55")]
    try:
        one, other = (np.asarray(Image.open(io.BytesIO(end), formats=("JPEG",))) for end in ends)
    except Exception:
        return None
    return ends[0] if np.array_equal(one, other) else None


def remark(source: Path | bytes) -> str:
    """Return what decoding leaves out of a picture that can be read, or nothing. Call it in `quietly`."""
    with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as opened:
        if opened.format == "JPEG":
            return "" if JPEG_END in _tail(source) else "that end before their end marker"
        if _is_deep(opened):
            return "of 16 bits, of which 8 are read"
        try:
            return "animated, of which the first frame is read" if getattr(opened, "is_animated", False) else ""
        except Exception:  # of a GIF, what follows the first frame is looked at here for the first time
            return "damaged behind their first frame, which is read"


def _is_deep(opened: Image.Image) -> bool:
    """Tell from the header, before pixels are loaded, whether a channel has more bits than the 8 that are read.

    Colours of 16 bits have the mode of those of 8.
    """
    if isinstance(opened, TiffImagePlugin.TiffImageFile):
        return bool(max(opened.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))) > 8)
    return opened.format == "PNG" and (
        opened.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))
    )


def _tail(source: Path | bytes) -> bytes:
    """Return a picture's last bytes; cameras and editors put things behind the end marker."""
    if isinstance(source, bytes):
        return source[-TAIL_BYTES:]
    with source.open("rb") as file:
        file.seek(max(0, source.stat().st_size - TAIL_BYTES))
        return file.read()


UNKNOWN_RANGE = "have no known range: store 8 or 16 bits"
GREY_MODES = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")


def header(source: Path | bytes) -> tuple[int, int] | None:
    """Return a picture's shorter side in pixels and its channels, 1 or 3, from its header; None for what is none."""
    try:
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as opened:
            return min(opened.size), 1 if opened.mode in GREY_MODES else 3
    except Exception:  # the plugin's `load` will say what is wrong
        return None


def require_picture_format(image: ImageFormat, where: str) -> None:
    """Raise SettingsError where a picture can't have the format: its channels must be 1 or 3."""
    if image.channels not in (1, 3):
        raise SettingsError(
            f"Pictures can't be decoded to {image}", where=where, expected="channels: 1 (grey) or 3 (colour)",
            fix="correct image in params.yaml; plain numbers are read by dataset: vectors",
        )  # fmt: skip


@contextmanager
def quietly() -> Iterator[None]:
    """Silence Pillow's warnings for all threads: sizes are capped here, and metadata says nothing of the pixels.

    Pillow's alone, as others' code may run meanwhile.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    _require_range(image)
    if image.mode.startswith("I;16") or image.mode == "I":  # 16 bits: keep the upper half, not the lower
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)  # `convert` would copy


def _require_range(image: Image.Image) -> None:
    """Raise ValueError for values of 32 bits of which it can't be told that they are 16 bits in wider cells."""
    if image.mode == "F":
        raise ValueError(f"32-bit floating-point pixels {UNKNOWN_RANGE}")
    if image.mode == "I" and image.format != "PNG":  # some versions of Pillow open a grey PNG of 16 bits so
        values = np.asarray(image)
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 0xFFFF or 0 < high < 256:
            raise ValueError(f"32-bit pixels, here of {low} to {high}, {UNKNOWN_RANGE}")
