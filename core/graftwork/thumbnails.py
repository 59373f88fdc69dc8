"""Small versions of many images, made block by block, so that memory stays flat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.images import Images, Indices

BLOCK_BYTES = 2**23
SIDE = 16  # of those in which images are compared


def thumbnails(images: Images, chosen: Indices, side: int) -> NDArray[Any]:
    """Return the chosen images (n, C, side, side) in their own type, averaged over areas; never enlarged.

    Averages of uint8 are whole numbers' sums, exact in float64: their bits hang on no machine.
    """
    channels, height, width = images.shape[1:]
    down, right = _areas(height, min(side, height)), _areas(width, min(side, width))
    found = np.empty((len(chosen), channels, len(down), len(right)), dtype=images.dtype)
    step = max(1, BLOCK_BYTES // (8 * channels * height * width))
    for start in range(0, len(chosen), step):
        block = images[chosen[start : start + step]].astype(np.float64)
        means = down @ block @ right.T / (height * width)
        found[start : start + step] = np.rint(means) if images.dtype.kind == "u" else means
    return found


def _areas(size: int, side: int) -> NDArray[np.float64]:
    """Return (side, size): how much of each pixel lies under each of `side` equal parts, times `side`."""
    pixels, parts = np.arange(size)[None] * side, np.arange(side)[:, None] * size
    overlap = np.minimum(pixels + side, parts + size) - np.maximum(pixels, parts)
    areas: NDArray[np.float64] = np.maximum(overlap, 0).astype(np.float64)
    return areas
