"""Find images that look like an image of another split: by a perceptual hash, then by a closer look.

The hash is pHash: 64 bits of an image's lowest frequencies (Zauner, Implementation and Benchmarking of Perceptual
Image Hash Functions, 2010). On CIFAR, clothes and Fashion-MNIST at most 4 of its bits change in 97 to 100 % of images
that are stored again as JPEG of quality 75, brightened, or made smaller and larger again. But digits and catalogue
photos share so many low frequencies that images which merely resemble each other agree too: 156,643 pairs of MNIST's
test and training images. So a pair counts only if the small versions of both correlate as well. That leaves 122 of
MNIST's 10,000 test images, 177 of Fashion-MNIST's, and none of 1,000 of CIFAR-10's; it finds 82 to 100 % of JPEGs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.images import Images, Indices
from graftwork.progress import QUIET, Progress, Tally
from graftwork.thumbnails import SIDE, thumbnails

MOST_BITS = 4  # of 64 that may differ
LEAST_CORRELATION = 0.99
MOST_CANDIDATES = 64  # of an image are looked at: where it has more, all its kind are alike
CELLS, MOST_ROWS = 2**22, 64  # pairs, and images, compared at a time

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class LookAlike:
    """An image, and the training image that it resembles most, by their numbers among all images.

    The names are what people call them, where images have names.
    """

    image: int
    train: int
    correlation: float  # of their small versions, 1 for the same picture
    image_name: str = ""
    train_name: str = ""


def look_alikes(images: Images, held: Indices, train: Indices, progress: Progress = QUIET) -> list[LookAlike]:
    """Return those of `held` that look like one of `train`, the most alike first; none where images are one pixel.

    Changes of size, brightness and compression are seen through; shifts, crops and mirror images aren't. Raises
    Interrupted when asked to stop.
    """
    if images.shape[2:] == (1, 1):
        return []
    shown, known = (thumbnails(images, numbers, SIDE) for numbers in (held, train))
    best: dict[int, LookAlike] = {}
    for place, other in _candidates(phash(shown), phash(known), progress):
        for index, match, likeness in zip(place, other, _correlation(shown[place], known[other]), strict=True):
            found = LookAlike(int(held[index]), int(train[match]), round(float(likeness), 3))
            if found.correlation >= LEAST_CORRELATION:
                best[found.image] = max(best.get(found.image, found), found, key=lambda one: one.correlation)
    return sorted(best.values(), key=lambda one: (-one.correlation, one.image))


def phash(images: NDArray[Any]) -> Hashes:
    """Return 64 bits an image (N, C, H, W): which of the 8 × 8 lowest frequencies exceed their median.

    Those of the grey version. The cosines are whole numbers, so that the bits hang on no machine.
    """
    grey = images.sum(axis=1, dtype=np.float64)
    across, down = (_cosines(size) for size in (grey.shape[2], grey.shape[1]))
    frequencies = (down @ grey @ across.T).reshape(len(grey), 64)
    bits = frequencies > np.median(frequencies[:, 1:], axis=1, keepdims=True)  # the first one is brightness alone
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _cosines(size: int) -> NDArray[np.float64]:
    """Return the 8 slowest cosines of the discrete cosine transform over `size` pixels, times 1024, rounded."""
    frequencies, pixels = np.arange(8)[:, None], np.arange(size)[None]
    cosines: NDArray[np.float64] = np.rint(1024 * np.cos(np.pi * frequencies * (2 * pixels + 1) / (2 * size)))
    return cosines


def _candidates(shown: Hashes, known: Hashes, progress: Progress) -> Iterator[tuple[Indices, Indices]]:
    """Yield places of hashes that differ in few bits, some rows of `shown` at a time: every pair is compared."""
    step, tally = max(1, min(MOST_ROWS, CELLS // len(known))), Tally(progress, len(shown), "images")
    for start in range(0, len(shown), step):
        differing = np.bitwise_count(shown[start : start + step, None] ^ known[None])
        rows, columns = np.nonzero(differing <= MOST_BITS)
        rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
        kept = rank < MOST_CANDIDATES
        if len(rows):
            yield rows[kept] + start, columns[kept]
        tally.count(step)


def _correlation(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float32]:
    """Return Pearson's correlation of each pair of images (n, C, H, W)."""
    flat = (images.astype(np.float32).reshape(len(images), images[:1].size) for images in (one, other))
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in flat)
    scale = np.sqrt(np.square(a).sum(axis=1) * np.square(b).sum(axis=1))
    found: NDArray[np.float32] = (a * b).sum(axis=1) / np.maximum(scale, 1e-6)
    return found
