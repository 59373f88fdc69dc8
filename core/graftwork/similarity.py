"""Compare the features of two models, or of two datasets, by linear CKA and by the Fréchet distance."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Rows: TypeAlias = NDArray[Any] | torch.Tensor


def linear_cka(features: Rows, others: Rows) -> float:
    """Return the linear centred kernel alignment of two feature sets of the same images, 0 (unlike) to 1 (alike).

    `features` is (images, columns), `others` (images, other columns), row by row the same images. With X and Y centred
    it is ‖YᵀX‖²/(‖XᵀX‖·‖YᵀY‖), Frobenius norms, and doesn't change under rotation and scaling of either side.
    Kornblith, Norouzi, Lee, Hinton, ICML 2019, arXiv 1905.00414. Raises ValueError where rows don't pair up, or where
    all rows of a side are equal.
    """
    x, y = as_matrix(features, "features"), as_matrix(others, "others")
    if len(x) != len(y):
        raise ValueError(f"linear CKA compares the same images: found {len(x)} rows of features and {len(y)} of others")
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    if len(x) < max(x.shape[1], y.shape[1]):
        gram_x, gram_y = x @ x.T, y @ y.T
        shared = float((gram_x * gram_y).sum())
    else:
        gram_x, gram_y = x.T @ x, y.T @ y
        shared = float(((x.T @ y) ** 2).sum())
    scale = float(np.linalg.norm(gram_x) * np.linalg.norm(gram_y))
    if scale == 0:
        raise ValueError("linear CKA needs rows that differ: all rows of features, or of others, are equal")
    return min(max(shared / scale, 0.0), 1.0)


def frechet_distance(features: Rows, others: Rows) -> float:
    """Return the squared Fréchet distance between Gaussians fitted to two feature sets. Here *lower* is nearer.

    `features` is (images, columns), `others` (other images, columns). It is ‖μ₁−μ₂‖² + tr(Σ₁+Σ₂−2(Σ₁Σ₂)^½) with the
    unbiased covariances, as in FID (Heusel et al., NeurIPS 2017, arXiv 1706.08500), and falls with the number of
    images: compare only sets of equal size. Raises ValueError for unequal columns or fewer than 2 rows.
    """
    x, y = as_matrix(features, "features"), as_matrix(others, "others")
    if x.shape[1] != y.shape[1]:
        raise ValueError(f"Fréchet distance needs equal columns: features have {x.shape[1]}, others {y.shape[1]}")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"Fréchet distance needs at least 2 rows a side, found {len(x)} and {len(y)}")
    root_x, root_y = _root(x), _root(y)
    # (Σ₁Σ₂)^½ and the product of the roots have the same trace norm, also where a covariance is singular.
    cross = float(np.linalg.norm(root_x @ root_y.T, "nuc"))
    shift = float(((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum())
    return max(shift + float((root_x**2).sum() + (root_y**2).sum()) - 2 * cross, 0.0)


def as_numpy(values: Rows) -> NDArray[Any]:
    """Return an array or a tensor, on whatever device and of whatever type, as a numpy array."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    return np.asarray(values)


def as_matrix(values: Rows, name: str) -> Array:
    """Return (rows, columns) as float64. Raises ValueError, with `name`, unless it is such a matrix and finite."""
    found = as_numpy(values)
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"{name} must be a matrix (rows, columns) that isn't empty, found shape {found.shape}")
    matrix = found.astype(np.float64)
    bad = int((~np.isfinite(matrix)).any(axis=1).sum())
    if bad:
        raise ValueError(f"{name} must be finite: {bad} of {len(matrix)} rows hold NaN or infinity")
    return matrix


def _root(rows: Array) -> Array:
    """Return R with RᵀR the unbiased covariance of the rows."""
    return np.asarray(np.linalg.qr((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1), mode="r"))
