"""Encoded pictures of a few kilobytes, and sets of them."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import numpy as np
from PIL import Image

from graftwork.decoding import decode
from graftwork.encoded_images import EncodedImages
from graftwork.images import Pixels
from graftwork.settings import ImageFormat

FORMAT = ImageFormat(size=16, channels=3)
KINDS = ("jpeg", "png", "webp", "bmp")


def picture(seed: int, kind: str = "jpeg", width: int = 40, height: int = 30) -> bytes:
    """Return one encoded picture of coarse noise, brighter for odd seeds."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 180, (6, 8, 3), dtype=np.uint8) + 60 * np.uint8(seed % 2)
    stored = io.BytesIO()
    Image.fromarray(coarse).resize((width, height)).save(stored, kind)
    return stored.getvalue()


def pictures(count: int) -> list[bytes]:
    """Return pictures of all kinds and of two shapes."""
    return [picture(n, KINDS[n % 4], *((40, 30) if n % 3 else (20, 50))) for n in range(count)]


def encoded(count: int = 20, image: ImageFormat = FORMAT) -> EncodedImages:
    """Return them as images."""
    return EncodedImages(pictures(count), image)


def decoded(sources: list[bytes], image: ImageFormat = FORMAT) -> Pixels:
    """Return what decoding them one by one gives."""
    return np.stack([np.asarray(decode(source, image), dtype=np.uint8) for source in sources])


def folders(root: Path, count: int, size: int = 40) -> None:
    """Write `count` JPEGs into the class folders `dark` and `bright`."""
    for number in range(count):
        path = root / ("dark", "bright")[number % 2] / f"{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, "jpeg", size, size))


def decoding_threads() -> list[threading.Thread]:
    """Return the threads that decode ahead now."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
