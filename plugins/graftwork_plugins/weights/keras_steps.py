"""How each kind of Keras's layers is read: what it computes, and its tensors as torch keeps them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.chains import Kind, Layer
from graftwork_plugins.weights import keras_layers as compute
from graftwork_plugins.weights.keras_layers import ACTIVATIONS, Array

# They do nothing once a net is trained.
IDLE = (
    "InputLayer", "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianDropout", "GaussianNoise",
    "ActivityRegularization", "RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast",
    "RandomBrightness",
)  # fmt: skip
ONE_SIDED = (
    "pads 'same' at a stride: zeros below and on the right first (timm's Conv2dSame does so, torch's padding not)"
)


@dataclass(frozen=True)
class Step:
    """One thing that a net does to its values, and the layer of torch's that holds the same tensors."""

    what: str
    apply: Callable[[Array], Array]
    layer: Layer | None = None
    tensors: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    order: NDArray[np.intp] | None = None  # of flattened features: torch's nth is Keras's order[n]th
    caution: str = ""


@dataclass(frozen=True)
class Found:
    """A layer as the file describes it, the shape that reaches it, and torch's order of features, if it is another."""

    name: str
    settings: Mapping[str, Any]
    arrays: list[NDArray[np.float32]]
    shape: tuple[int, ...]
    order: NDArray[np.intp] | None

    def kernel(self, *shape: int | None) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return kernel and bias; raise ValueError unless the kernel has that shape, None standing for any side."""
        expected = 1 + bool(self.settings.get("use_bias", True))
        if len(self.arrays) != expected:
            raise ValueError(f"{len(self.arrays)} arrays, where {expected} belong to it")
        found = self.arrays[0].shape
        if len(found) != len(shape) or any(want not in (None, is_) for want, is_ in zip(shape, found, strict=True)):
            raise ValueError(f"a kernel of shape {found}, where {shape} fits")
        return self.arrays[0], self.arrays[1] if expected == 2 else None

    def step(self, kind: Kind, apply: Callable[[Array], Array], caution: str = "", **tensors: Any) -> Step:
        """Return a step with tensors; those that are None are left out."""
        held = {name: tensor for name, tensor in tensors.items() if tensor is not None}
        epsilon = float(self.settings["epsilon"]) if kind == "norm" else None
        return Step(kind.split()[-1], apply, Layer(kind, self.name, epsilon), held, caution=caution)


def _dense(found: Found) -> Step:
    (inputs,) = found.shape
    kernel, bias = found.kernel(inputs, None)
    rows = kernel if found.order is None else kernel[found.order]
    return found.step("linear", lambda x: x @ kernel + (0 if bias is None else bias), weight=rows.T, bias=bias)


def _convolution(found: Found) -> Step:
    groups = found.settings.get("groups", 1)
    kernel, bias = found.kernel(None, None, found.shape[2] // groups, None)
    apply, caution = _sliding(found, compute.convolve, kernel, bias)
    kind: Kind = "depthwise convolution" if groups == found.shape[2] > 1 else "convolution"
    return found.step(kind, apply, caution, weight=kernel.transpose(3, 2, 0, 1), bias=bias)


def _depthwise(found: Found) -> Step:
    kernel, bias = found.kernel(None, None, found.shape[2], None)
    apply, caution = _sliding(found, compute.convolve_depthwise, kernel, bias)
    weight = kernel.transpose(2, 3, 0, 1).reshape(
        -1, 1, *kernel.shape[:2]
    )  # channel by channel, its multiples together
    kind: Kind = "depthwise convolution" if found.shape[2] > 1 else "convolution"
    return found.step(kind, apply, caution, weight=weight, bias=bias)


def _sliding(
    found: Found, convolve: Callable[..., Array], kernel: Array, bias: Array | None
) -> tuple[Callable[[Array], Array], str]:  # fmt: skip
    """Return what a convolution computes, and what is to be minded about it."""
    strides, padding = pair(found.settings["strides"]), _padding(found)
    dilation = pair(found.settings.get("dilation_rate", 1))

    def apply(images: Array) -> Array:
        return convolve(images, kernel, strides, padding, dilation) + (0 if bias is None else bias)

    caution = f"{found.settings['name']} {ONE_SIDED}" if padding == "same" and max(strides) > 1 else ""
    return apply, caution


def _norm(found: Found) -> Step:
    """Read batch normalisation over the last axis; a scale or centre that it lacks is 1 or 0 in torch."""
    settings, axis = found.settings, found.settings.get("axis", -1)
    if (axis[0] if isinstance(axis, list) and axis else axis) not in (-1, len(found.shape)):
        raise ValueError(f"it normalises over axis {axis}, not over the channels")
    arrays = list(found.arrays)
    width = found.shape[-1]
    weight = arrays.pop(0) if settings.get("scale", True) else np.ones(width, np.float32)
    bias = arrays.pop(0) if settings.get("center", True) else np.zeros(width, np.float32)
    mean, variance = arrays
    held = {"weight": weight, "bias": bias, "running_mean": mean, "running_var": variance}
    if any(array.shape != (width,) for array in held.values()):
        raise ValueError(f"its arrays aren't of {width} channels each")
    apply = partial(
        compute.normalise, weight=weight, bias=bias, mean=mean, variance=variance, epsilon=settings["epsilon"]
    )  # fmt: skip
    ordered = {k: v if found.order is None else v[found.order] for k, v in held.items()}
    return found.step("norm", apply, "", **ordered)


def _flatten(found: Found) -> Step:
    order = None
    if len(found.shape) == 3:
        order = np.arange(np.prod(found.shape)).reshape(found.shape).transpose(2, 0, 1).ravel()
    return Step("flatten", lambda x: x.reshape(len(x), -1), order=order if len(found.shape) > 1 else found.order)


def _pool(found: Found, compute_pool: Callable[..., Array]) -> Step:
    size = pair(found.settings["pool_size"])
    strides, padding = pair(found.settings.get("strides") or size), _padding(found)
    caution = f"{found.settings['name']} pads 'same', unlike torch's pooling" if padding == "same" else ""
    apply = partial(compute_pool, size=size, strides=strides, padding=padding)
    return Step("pooling", apply, caution=caution)


def _global_average(found: Found) -> Step:
    keep = bool(found.settings.get("keepdims"))
    return Step("pooling", lambda x: x.mean(axis=(1, 2), keepdims=keep))


def _zero_padding(found: Found) -> Step:
    (top, bottom), (left, right) = found.settings["padding"]
    if not 0 <= min(top, bottom, left, right) <= max(top, bottom, left, right) <= 64:
        raise ValueError("a padding of more than 64 pixels")
    return Step("padding", lambda x: np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0))))


def _relu(found: Found) -> Step:
    settings = found.settings
    most, slope = settings.get("max_value"), settings.get("negative_slope") or 0.0
    if settings.get("threshold"):
        raise ValueError("a ReLU with a threshold has no counterpart")

    def apply(x: Array) -> Array:
        return np.where(x > 0, x if most is None else np.minimum(x, most), slope * x)

    return Step("activation", apply)


def _leaky_relu(found: Found) -> Step:
    slope = found.settings.get("negative_slope", found.settings.get("alpha", 0.3))
    return Step("activation", lambda x: np.where(x > 0, x, slope * x))


def _activation(found: Found) -> Step:
    return activation(found.settings["activation"]) or Step("activation", ACTIVATIONS["linear"])


def activation(named: object) -> Step | None:
    """Return the step for an activation's name; None for none. Raises ValueError for one that isn't known."""
    if isinstance(named, dict):
        named = named.get("config")
    if named in (None, "linear"):
        return None
    if named == "softmax":
        return Step("softmax", ACTIVATIONS["linear"])
    if not isinstance(named, str) or named not in ACTIVATIONS:
        raise ValueError(f"the activation {named!r} isn't known. Known: softmax, {', '.join(ACTIVATIONS)}")
    return Step("activation", ACTIVATIONS[named])


def pair(value: object) -> tuple[int, int]:
    """Return two positive numbers, given as one or as two."""
    both = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(both) != 2 or not all(isinstance(each, int) and each > 0 for each in both):
        raise ValueError(f"{value!r} isn't a pair of sides")
    return both[0], both[1]


def _padding(found: Found) -> str:
    padding = found.settings.get("padding", "valid")
    if padding not in ("valid", "same"):
        raise ValueError(f"the padding {padding!r} isn't known")
    return str(padding)


READERS: dict[str, Callable[[Found], Step]] = {
    "Dense": _dense,
    "Conv2D": _convolution,
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _norm,
    "Flatten": _flatten,
    "MaxPooling2D": lambda found: _pool(found, compute.max_pool),
    "AveragePooling2D": lambda found: _pool(found, compute.average_pool),
    "GlobalAveragePooling2D": _global_average,
    "ZeroPadding2D": _zero_padding,
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "Softmax": lambda _: Step("softmax", ACTIVATIONS["linear"]),
}
