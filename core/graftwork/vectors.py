"""Vectors: plain numbers in place of pixels, carried as images of 1×1 pixels with a channel for each feature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError, SettingsError
from graftwork.settings import ImageFormat

Vectors = NDArray[np.float32]  # (N, F, 1, 1)

SHOWN = 32  # in a heat map
CELL, WIDEST = 16, 960  # pixels


def require_vector_format(features: int, image: ImageFormat, where: str) -> None:
    """Raise SettingsError unless the settings' format is that of vectors of so many features."""
    if (image.size, image.channels) != (1, features):
        raise SettingsError(
            f"The data has {features} features, and params.yaml asks for {image}", where=where,
            expected="one pixel, and a channel for each feature",
            fix=f"set image: {{size: 1, channels: {features}}} in params.yaml, for all data or for this data set",
        )  # fmt: skip


def vector_statistics(vectors: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per feature of vectors (N, F, 1, 1), each divided by 255.

    Divided, because `Normalise` divides whatever it gets. A feature that is constant in training gets the deviation of
    one unit: it becomes zero, and is not blown up where a test value differs. Raises DataError where all are constant.
    """
    constant = vectors.min(axis=(0, 2, 3)) == vectors.max(axis=(0, 2, 3))
    if constant.all():
        raise DataError("All training vectors are the same", expected="vectors that differ", fix="look at the data")
    mean = vectors.mean(axis=(0, 2, 3), dtype=np.float64)
    std = np.where(constant, 1.0, vectors.std(axis=(0, 2, 3), dtype=np.float64))
    return [float(f"{value / 255:.9g}") for value in mean], [float(f"{value / 255:.9g}") for value in std]


def heat_map(vectors: Vectors) -> NDArray[np.uint8]:
    """Draw vectors (N, F, 1, 1) as grey cells: a row for each, a column for each feature, on a scale of its own."""
    values = vectors[:, :, 0, 0].astype(np.float64)
    low, high = values.min(axis=0), values.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    grey = np.where(high > low, (values - low) / span * 255, 128.0).round().astype(np.uint8)
    cell = max(1, min(CELL, WIDEST // grey.shape[1]))
    return np.repeat(np.repeat(grey, cell, axis=0), cell, axis=1)
