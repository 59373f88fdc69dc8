"""Mean and standard deviation of each channel, from sums that are exact."""

from __future__ import annotations

from collections.abc import Iterable
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError
from graftwork.images import Pixels
from graftwork.vectors import vector_statistics

Sums = NDArray[np.int64]
ONE_LEVEL = round(1 / 255, 6)  # of 256, scaled to 0…1


def statistics(parts: Iterable[NDArray[Any]]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of images that come in parts (n, C, H, W), scaled to 0…1.

    They come from whole numbers' sums: neither the parts nor their order decide a bit. Vectors' are divided alike.
    """
    parts = iter(parts)
    first = next(parts)
    if first.dtype != np.uint8:
        return vector_statistics(np.concatenate([first, *parts]))
    total, pixels = channel_sums(first).sum(axis=0), first[:, 0].size
    for part in parts:
        total += channel_sums(part).sum(axis=0)
        pixels += part[:, 0].size
    return from_sums(total, pixels)


def channel_sums(images: Pixels) -> Sums:
    """Return the sums of values and of their squares, (n, C, 2)."""
    flat = images.reshape(*images.shape[:2], -1)
    squares = np.einsum("ncp,ncp->nc", flat, flat, dtype=np.int64)
    return np.stack([flat.sum(axis=2, dtype=np.int64), squares], axis=2)


def from_sums(total: Sums, pixels: int) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel, of values scaled to 0…1, from sums (C, 2) over so many pixels.

    A channel that is constant in training, or all but, gets the deviation of one level, as a vector's feature does: but
    for rounding it becomes zero, and is not blown up where a test value differs. Raises DataError where all are
    constant.
    """
    # Python's own integers: the products don't fit into 64 bits
    mean = [values / pixels for values, _ in total.tolist()]
    std = [sqrt(pixels * squares - values**2) / pixels for values, squares in total.tolist()]
    if not any(std):
        raise DataError(
            "All training images are of one flat colour", expected="images that differ",
            fix="look at the files: are they what they should be?",
        )  # fmt: skip
    rounded = (np.array(std) / 255).round(6)
    return (np.array(mean) / 255).round(6).tolist(), np.where(rounded == 0, ONE_LEVEL, rounded).tolist()
