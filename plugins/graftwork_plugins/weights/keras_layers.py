"""What Keras's layers compute, in NumPy, channels last: an account of them that owes nothing to torch.

Images are (N, H, W, C), features (N, F), both float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]
Pair = tuple[int, int]


def convolve(images: Array, kernel: Array, strides: Pair, padding: str, dilation: Pair) -> Array:
    """Return the cross-correlation with a kernel (height, width, channels / groups, out channels)."""
    groups = images.shape[3] // kernel.shape[2]
    windows = _windows(_padded(images, kernel.shape, strides, padding, dilation), kernel.shape, strides, dilation)
    parts = zip(np.split(windows, groups, axis=3), np.split(kernel, groups, axis=3), strict=True)
    answers: Array = np.concatenate(
        [np.tensordot(part, own, axes=((4, 5, 3), (0, 1, 2))) for part, own in parts], axis=3
    )
    return answers


def convolve_depthwise(images: Array, kernel: Array, strides: Pair, padding: str, dilation: Pair) -> Array:
    """Return each channel's own cross-correlations: a kernel (height, width, channels, multiplier)."""
    windows = _windows(_padded(images, kernel.shape, strides, padding, dilation), kernel.shape, strides, dilation)
    result: Array = np.einsum("nhwcij,ijcm->nhwcm", windows, kernel)
    return result.reshape(*result.shape[:3], -1)


def max_pool(images: Array, size: Pair, strides: Pair, padding: str) -> Array:
    """Return the greatest value in each window."""
    padded = _padded(images, size, strides, padding, (1, 1), fill=-np.inf)
    result: Array = _windows(padded, size, strides, (1, 1)).max(axis=(4, 5))
    return result


def average_pool(images: Array, size: Pair, strides: Pair, padding: str) -> Array:
    """Return the mean of each window; padding isn't counted."""
    sums, counts = (
        _windows(_padded(array, size, strides, padding, (1, 1)), size, strides, (1, 1)).sum(axis=(4, 5))
        for array in (images, np.ones_like(images))
    )
    result: Array = sums / counts
    return result


def normalise(values: Array, weight: Array, bias: Array, mean: Array, variance: Array, epsilon: float) -> Array:
    """Return batch normalisation with the statistics of training."""
    result: Array = (values - mean) / np.sqrt(variance + epsilon) * weight + bias
    return result


def _padded(
    images: Array, size: tuple[int, ...], strides: Pair, padding: str, dilation: Pair, fill: float = 0.0
) -> Array:  # fmt: skip
    """Pad as 'same' does: to ⌈side / stride⌉ windows, an odd pixel at the bottom and on the right."""
    if padding != "same":
        return images
    widths: list[Pair] = [(0, 0)]
    for side, length, stride, step in zip(images.shape[1:3], size, strides, dilation, strict=False):
        total = max(0, (math.ceil(side / stride) - 1) * stride + (length - 1) * step + 1 - side)
        widths.append((total // 2, total - total // 2))
    return np.pad(images, [*widths, (0, 0)], constant_values=fill)


def _windows(images: Array, size: tuple[int, ...], strides: Pair, dilation: Pair) -> Array:
    """Return (N, rows, columns, C, height, width): what lies under the kernel at each of its places."""
    reach = tuple((length - 1) * step + 1 for length, step in zip(size, dilation, strict=False))
    views = sliding_window_view(images, reach, axis=(1, 2))
    result: Array = views[:, :: strides[0], :: strides[1], :, :: dilation[0], :: dilation[1]]
    return result


def _gelu(x: Array) -> Array:
    from scipy.special import erf

    result: Array = x * (1 + erf(x / math.sqrt(2))) / 2
    return result


def _sigmoid(x: Array) -> Array:
    from scipy.special import expit

    result: Array = expit(x)
    return result


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "linear": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "sigmoid": _sigmoid,
    "silu": lambda x: x * _sigmoid(x),
    "swish": lambda x: x * _sigmoid(x),
    "softplus": lambda x: np.logaddexp(0, x),
    "tanh": np.tanh,
}
