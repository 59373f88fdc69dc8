"""One look at every image: what is asked of its pixels before a training, so that encoded ones are decoded once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.channel_statistics import Sums, channel_sums, from_sums
from graftwork.images import Images, Indices
from graftwork.labelled_arrays import chunks
from graftwork.progress import QUIET, Progress, Tally
from graftwork.thumbnails import SIDE, thumbnails
from graftwork.vectors import vector_statistics


@dataclass(frozen=True)
class Look:
    """What was seen of all images; some KB of each. Vectors, which are as small, are looked at where they are."""

    digests: list[bytes]
    small: Images  # (N, C, at most SIDE, at most SIDE), on which thumbnails are what they are on the images
    sums: Sums | None  # (N, C, 2), of values and of their squares; None: these are vectors
    pixels: int  # of an image

    def statistics(self, chosen: Indices) -> tuple[list[float], list[float]]:
        """Return mean and standard deviation per channel of some images. Raises DataError for one flat colour."""
        if self.sums is None:
            return vector_statistics(self.small[chosen])
        return from_sums(self.sums[chosen].sum(axis=0), len(chosen) * self.pixels)


def look(images: Images, progress: Progress = QUIET) -> Look:
    """Go once through images (N, C, H, W), some at a time. Raises Interrupted when asked to stop."""
    if images.dtype != np.uint8:
        return Look(digests(images), images, None, 1)
    found: list[bytes] = []
    small: list[NDArray[Any]] = []
    sums: list[Sums] = []
    tally = Tally(progress, len(images), "images")
    for chunk in chunks(images, np.arange(len(images))):
        pixels = images[chunk]
        found += map(_digest, pixels)
        small.append(thumbnails(pixels, np.arange(len(pixels)), SIDE))
        sums.append(channel_sums(pixels))
        tally.count(len(chunk))
    height, width = images.shape[2:]
    return Look(found, np.concatenate(small), np.concatenate(sums), height * width)


def digests(images: Images) -> list[bytes]:
    """Return a digest of every image's pixels."""
    return [_digest(image) for chunk in chunks(images, np.arange(len(images))) for image in images[chunk]]


def _digest(image: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
