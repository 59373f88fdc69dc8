"""Features of images before any model is trained: the principal components of their pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.blas_threads import one_blas_thread
from graftwork.images import Images, Indices
from graftwork.thumbnails import SIDE, thumbnails

DIMENSIONS = 64
BLOCK = 4096


def pixel_features(images: Images, chosen: Indices) -> NDArray[np.float32]:
    """Return the chosen images' principal components (n, at most 64) of at most 16 × 16 pixels.

    Each channel is scaled to a standard deviation of 1 first, as its unit says nothing: vectors are images of one
    pixel, with a channel for each feature. Equal to the bit on one machine, however many threads BLAS is given.
    """
    with one_blas_thread():
        return _components(images, chosen)


def _components(images: Images, chosen: Indices) -> NDArray[np.float32]:
    small = thumbnails(images, chosen, SIDE)
    mean, scale = small.mean(axis=0, dtype=np.float64), _spread(small)

    def blocks() -> Iterator[NDArray[np.float32]]:
        for start in range(0, len(small), BLOCK):
            centred = (small[start : start + BLOCK] - mean) / scale
            yield centred.reshape(len(centred), -1).astype(np.float32)

    covariance = np.zeros((mean.size, mean.size))
    for block in blocks():
        covariance += block.T @ block
    _, vectors = np.linalg.eigh(covariance)  # by rising variance
    axes = np.ascontiguousarray(vectors[:, ::-1][:, :DIMENSIONS], dtype=np.float32)
    return np.concatenate([block @ axes for block in blocks()])


def _spread(images: NDArray[Any]) -> NDArray[np.float64]:
    """Return the standard deviation of each channel (C, 1, 1); 1 for one that doesn't vary."""
    centre = images.mean(axis=(0, 2, 3), dtype=np.float64)[:, None, None]
    squares = np.zeros(images.shape[1])
    for start in range(0, len(images), BLOCK):
        squares += np.square(images[start : start + BLOCK] - centre).sum(axis=(0, 2, 3))
    spread = np.sqrt(squares * images.shape[1] / images.size)[:, None, None]
    return np.where(spread > 0, spread, 1.0)
