"""Bring a source's tensors into the shapes of a model whose images have other channels, or another size.

Which tensors depend on the image is never told by a table of layers' names: convolutions are asked for the channels
that they read, transformers for the grid of their patches, windowed attention for its windows. Everything else that
has another shape is left alone, with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from graftwork.errors import WeightsError
from graftwork.settings import Channels, ImageFormat
from graftwork.torchvision_operators import define_missing
from graftwork.weights import InputContract

Fitted = tuple[Tensor | None, str]  # the tensor and how it was changed, or None and why it can't be used

WAYS = {
    "sum": "summed, and spread evenly",
    "repeat": "repeated in turn, and scaled",
    "mean": "their mean for each",
    "zero": "those in common copied, further ones zero",
}


@dataclass(frozen=True)
class Adaptation:
    """How a source's tensors become those of `model`, which takes images of the format `image`."""

    model: nn.Module
    image: ImageFormat
    source: InputContract
    channels: Channels

    def __post_init__(self) -> None:
        """Raise WeightsError for vectors of different lengths: no feature of one is known to be one of the other."""
        there, here = (self.source.size, self.source.channels), (self.image.size, self.image.channels)
        if there != here and 1 in (there[0], here[0]):
            source = ImageFormat(size=self.source.size, channels=self.source.channels)
            raise WeightsError(
                f"The source's data is {source}, the target's {self.image}", where="params.yaml, key image",
                expected="the same features, in the same order: they can't be told to correspond otherwise",
                fix="bring both data sets to the same columns, or take another source",
            )  # fmt: skip

    def fit(self, name: str, found: Tensor, wanted: Tensor) -> Fitted:
        """Return the source's tensor `found` in the shape of the model's tensor `wanted`."""
        plain, difference = fit_plainly(found, wanted)
        if plain is not None:
            return plain, ""
        owner, attribute = self._owner(name)
        if isinstance(owner, nn.Conv2d) and attribute == "weight":
            fitted = self._kernel(owner, found, wanted)
        elif attribute == "pos_embed" and hasattr(getattr(owner, "patch_embed", None), "grid_size"):
            fitted = _position_embedding(owner.patch_embed.grid_size, found, wanted)
        elif attribute == "relative_position_bias_table" and hasattr(owner, "window_size"):
            fitted = _bias_table(owner.window_size, found, wanted)
        else:
            fitted = None, ""
        tensor, how = fitted
        if tensor is None:
            return None, f"{difference}; {how}" if how else difference
        return tensor.to(wanted.dtype).contiguous(), how

    def normalisation(self) -> dict[str, tuple[float, ...]]:
        """Return mean and std for the model's channels: those that the adapted kernels were trained with.

        Repeated and copied channels keep those of the channel that they were made of. Summed and averaged ones get
        the average, which is exact where the source normalises all its channels alike: then a grey image gets the
        very answer that the source gives to it in colour. Otherwise it is an approximation, as the manifest says.
        """
        there, here = self.source.channels, self.image.channels
        if there == here:
            return {"mean": self.source.mean, "std": self.source.std}
        if self._way() in ("sum", "mean"):
            averages = {"mean": self.source.mean, "std": self.source.std}
            return {name: (sum(values) / there,) * here for name, values in averages.items()}
        chosen = [index % there for index in range(here)]
        return {
            "mean": tuple(self.source.mean[index] for index in chosen),
            "std": tuple(self.source.std[index] for index in chosen),
        }

    def _owner(self, name: str) -> tuple[Any, str]:
        """Return the module that holds a tensor of the model, and the tensor's name in it."""
        path, _, attribute = name.rpartition(".")
        return self.model.get_submodule(path), attribute

    def _way(self) -> str:
        return way_for(self.channels, self.source.channels, self.image.channels)

    def _kernel(self, owner: nn.Conv2d, found: Tensor, wanted: Tensor) -> Fitted:
        """Return a kernel that reads the image, for the image's channels.

        A stem behind timm's SpaceToDepth reads several positions' channels, position by position: each is fitted.
        """
        there, here = self.source.channels, self.image.channels
        positions, rest = divmod(wanted.shape[1], here)
        others = [shape[:1] + shape[2:] for shape in (found.shape, wanted.shape)]
        if rest or others[0] != others[1] or found.shape[1] != positions * there:
            return None, ""
        if owner.groups > 1:
            return None, "a grouped kernel ties its answers to certain channels"
        way = self._way()
        parts = found.reshape(len(found), positions, there, *found.shape[2:]).flatten(0, 1)
        fitted = fit_channels(parts, here, way).reshape(wanted.shape)
        return fitted, f"input channels {there} → {here}: {WAYS[way]}{self._doubts(owner, way)}"

    def _doubts(self, owner: nn.Conv2d, way: str) -> str:
        """Return why a kernel's answer is only near the original's, if so."""
        alike = len(set(self.source.mean)) == len(set(self.source.std)) == 1
        reasons = []
        if way in ("sum", "mean") and not alike:
            reasons.append("the source normalises each channel in its own way")
        if _standardises(owner):
            reasons.append("the layer standardises its kernel")
        return f"; approximate, as {' and '.join(reasons)}" if reasons else ""


def fit_plainly(found: Tensor, wanted: Tensor) -> Fitted:
    """Return the source's tensor where it has the wanted shape; otherwise None and how they differ."""
    if found.shape == wanted.shape:
        return found.to(wanted.dtype), ""
    return None, f"shape {size_text(found.shape)} in the source, {size_text(wanted.shape)} here"


def size_text(shape: Iterable[int]) -> str:
    """Return a shape as `6×3×3×3`."""
    return "×".join(map(str, shape)) or "scalar"


def way_for(channels: Channels, there: int, here: int) -> str:
    """Return the way that `auto` stands for: a sum for fewer channels, repetition for more."""
    if channels != "auto":
        return channels
    return "sum" if here < there else "repeat"


def fit_channels(kernel: Tensor, channels: int, way: str) -> Tensor:
    """Return a kernel (out, source channels, height, width) as (out, channels, height, width).

    `sum` and `repeat` keep the size of the answer: by a sum, a grey image gets the answer that it gets in colour from
    the original; a repeated kernel gives it in colour the answer of the grey original. `mean` keeps the size of the
    weights. `zero` leaves out the channels that aren't there, or gives new ones no weight at first.
    """
    there = kernel.shape[1]
    if way == "sum":
        return kernel.sum(dim=1, keepdim=True).expand(-1, channels, -1, -1) / channels
    if way == "mean":
        return kernel.mean(dim=1, keepdim=True).expand(-1, channels, -1, -1)
    if way == "repeat":
        return kernel[:, torch.arange(channels) % there] * (there / channels)
    fitted = kernel.new_zeros(len(kernel), channels, *kernel.shape[2:])
    fitted[:, :there] = kernel[:, :channels]
    return fitted


def _position_embedding(grid: tuple[int, int], found: Tensor, wanted: Tensor) -> Fitted:
    """Return position embeddings (1, prefix tokens and positions, width) for another square grid of patches.

    The prefix is what the model holds beyond its grid: class and register tokens, unless they have no position.
    """
    if found.ndim != 3 or wanted.ndim != 3 or found.shape[2] != wanted.shape[2]:
        return None, ""
    prefix = wanted.shape[1] - grid[0] * grid[1]
    side = math.isqrt(max(0, found.shape[1] - prefix))
    if prefix < 0 or side < 1 or side**2 + prefix != found.shape[1] or grid[0] != grid[1]:
        return None, "position embeddings of no square grid"
    define_missing()
    from timm.layers import resample_abs_pos_embed

    resampled = resample_abs_pos_embed(found, new_size=list(grid), old_size=[side, side], num_prefix_tokens=prefix)
    return resampled, f"position embeddings resampled from {side}×{side} to {grid[0]}×{grid[1]} patches"


def _bias_table(window: tuple[int, int], found: Tensor, wanted: Tensor) -> Fitted:
    """Return relative position biases, (distances, heads) or (heads, rows, columns), for another square window.

    timm's bicubic way: its other one, uneven and linear, indexes tensors in a form that torch is about to change.
    """
    heads = -1 if wanted.ndim == 2 else 0
    if found.ndim != wanted.ndim or found.shape[heads] != wanted.shape[heads] or window[0] != window[1]:
        return None, ""
    extra = wanted.shape[0] - (2 * window[0] - 1) ** 2 if wanted.ndim == 2 else 0  # of class tokens
    side = math.isqrt(max(0, found.shape[0] - extra)) if found.ndim == 2 else found.shape[1]
    whole = side**2 + extra == found.shape[0] if found.ndim == 2 else found.shape[1] == found.shape[2]
    if not whole or side % 2 == 0:
        return None, "relative position biases of no square window"
    define_missing()
    from timm.layers import resize_rel_pos_bias_table_simple

    resized = resize_rel_pos_bias_table_simple(found, window, tuple(wanted.shape))
    return resized, f"relative position biases interpolated from a window of {side // 2 + 1} to {window[0]} patches"


def _standardises(owner: nn.Conv2d) -> bool:
    """Tell whether a convolution standardises its kernel whenever it is called, so that a sum's scale is lost."""
    define_missing()
    from timm import layers

    kinds = (layers.StdConv2d, layers.StdConv2dSame, layers.ScaledStdConv2d, layers.ScaledStdConv2dSame)
    return isinstance(owner, kinds)
