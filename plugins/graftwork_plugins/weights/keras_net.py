"""A Sequential net of Keras, layer by layer: its tensors in torch's layout, and what the net answers.

Keras keeps channels last, torch first. Kernels are transposed accordingly, and the rows of a dense kernel behind a
Flatten are put in the order in which torch flattens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.chains import Layer
from graftwork.errors import WeightsError, did_you_mean
from graftwork_plugins.weights.keras_layers import Array
from graftwork_plugins.weights.keras_steps import IDLE, READERS, Found, Step, activation

Config = dict[str, Any]
MOST_INPUTS = 2**24
ANY_SIDE = 64  # stands for a side that the net leaves open


@dataclass(frozen=True)
class Net:
    """What is computed, step by step, from an input (height, width, channels), (height, width) or (features,)."""

    shape: tuple[int | None, ...]
    steps: tuple[Step, ...]
    scaling: tuple[float, float] | None = None  # what the net does to pixels of 0…255 first: scale, offset

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that hold tensors."""
        return tuple(step.layer for step in self.steps if step.layer)

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Return them in torch's layout, as `<layer>.weight`."""
        named = [(step.layer.name, step.tensors) for step in self.steps if step.layer]
        return {f"{name}.{key}": np.ascontiguousarray(t) for name, held in named for key, t in held.items()}

    def answer(self, images: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return logits (N, classes) for normalised images (N, C, H, W), or for vectors of 1×1 pixels."""
        values = self._input(images.astype(np.float64).transpose(0, 2, 3, 1))
        for step in self.steps:
            values = step.apply(values)
        return values.astype(np.float64)

    def _input(self, images: Array) -> Array:
        """Return images (N, H, W, C) in the net's own shape."""
        if len(self.shape) == 1 and images[0].size == self.shape[0]:
            return images.reshape(len(images), -1)
        whole = self.shape if len(self.shape) == 3 else (*self.shape, 1)
        if len(whole) == 3 and all(a in (None, b) for a, b in zip(whole, images.shape[1:], strict=True)):
            return images if len(self.shape) == 3 else images[..., 0]
        raise WeightsError(
            f"The file's net takes {_text(self.shape)}, and the images are {_text(images.shape[1:])}", where="weights",
            expected="the same height, width and channels", fix="set image under imports to what the net takes",
        )  # fmt: skip


@dataclass
class _Walk:
    """Where the reading of a net stands: what the layers so far answer, and how features are ordered for torch."""

    values: Array  # for one blank image
    order: NDArray[np.intp] | None = None
    steps: list[Step] = field(default_factory=list)

    def add(self, step: Step) -> None:
        self.values = step.apply(self.values)
        self.steps.append(step)


def net(layers: Sequence[Config], arrays: dict[str, list[NDArray[np.float32]]], where: str) -> Net:
    """Return the net that these configs describe. Raises WeightsError for a layer that can't be brought to torch."""
    shape = _input_shape(layers, where)
    layers = [layer for layer in layers if layer["class_name"] not in IDLE]
    scaling = _scaling(layers[0]) if layers else None
    walk = _Walk(np.zeros((1, *(ANY_SIDE if side is None else side for side in shape))))
    for number, layer in enumerate(layers[1:] if scaling else layers):
        name = str(layer["config"].get("name"))
        try:
            _read(walk, str(number), layer, arrays.get(name, []))
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise _unfit(f"its layer {name!r} ({layer['class_name']}): {error}", where) from None
    return Net(shape, _without_softmax(walk, where), scaling)


def _read(walk: _Walk, name: str, layer: Config, arrays: list[NDArray[np.float32]]) -> None:
    """Take the next step, or two where an activation is fused into the layer."""
    kind, settings = layer["class_name"], layer["config"]
    if kind not in READERS:
        raise ValueError(f"layers of this kind aren't known. {did_you_mean(kind, READERS)} Known: {', '.join(READERS)}")
    if settings.get("data_format") == "channels_first":
        raise ValueError("channels first; save the model with channels last")
    walk.add(READERS[kind](Found(name, settings, arrays, walk.values.shape[1:], walk.order)))
    if kind == "Flatten":
        walk.order = walk.steps[-1].order
    elif kind == "Dense":
        walk.order = None
    if kind != "Activation" and (fused := activation(settings.get("activation"))) is not None:
        walk.add(fused)


def _without_softmax(walk: _Walk, where: str) -> tuple[Step, ...]:
    """Return the steps up to the logits. Raises WeightsError where the net doesn't tell one class of many."""
    steps = walk.steps[:-1] if walk.steps and walk.steps[-1].what == "softmax" else walk.steps
    if any(step.what == "softmax" for step in steps):
        raise _unfit("a softmax stands within it", where)
    last = steps[-1].what if steps else "nothing"
    if walk.values.ndim != 2 or walk.values.shape[1] < 2 or last not in ("linear", "pooling", "flatten", "convolution"):
        raise _unfit(
            f"it ends in {last} and answers {_text(walk.values.shape[1:])}, not logits of several classes", where
        )
    return tuple(steps)


def _input_shape(layers: Sequence[Config], where: str) -> tuple[int | None, ...]:
    first = layers[0]["config"] if layers else {}
    shape = first.get("batch_shape") or first.get("batch_input_shape")
    sides = tuple(shape[1:]) if isinstance(shape, list) else ()
    good = all(side is None or (isinstance(side, int) and side > 0) for side in sides)
    if not good or len(sides) not in (1, 2, 3) or np.prod([side or ANY_SIDE for side in sides]) > MOST_INPUTS:
        raise _unfit(f"it takes {_text(sides) if good and sides else 'no input that it names'}", where)
    return sides


def _scaling(layer: Config) -> tuple[float, float] | None:
    """Return what a first layer Rescaling does: scale and offset."""
    if layer["class_name"] != "Rescaling":
        return None
    scale, offset = layer["config"].get("scale"), layer["config"].get("offset")
    return (float(scale), float(offset)) if isinstance(scale, float) and isinstance(offset, float | int) else None


def _text(shape: Sequence[int | None]) -> str:
    return "×".join("any" if side is None else str(side) for side in shape)


def _unfit(what: str, where: str) -> WeightsError:
    return WeightsError(
        f"The Keras net can't be brought here: {what}", where=where,
        expected="a Sequential net of dense and convolutional layers that classifies",
        fix="save it without that layer, or export its weights from Keras to safetensors",
    )  # fmt: skip
