"""Augmentations of pixels where they are: colour jitter, and random erasing (Zhong et al., AAAI 2020, 1708.04896)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Generator, Tensor

from graftwork.images import LUMA
from graftwork_plugins.augmentations.drawing import between, in_boxes, require_order, require_pictures, uniform

# N images, C channels, H height, W width

Strength = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Colour:
    """Change brightness, contrast and saturation, in this order, by factors of 1 ± so much; grey has no saturation."""

    brightness: Strength = 0.2
    contrast: Strength = 0.2
    saturation: Strength = 0.2

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Change each image (N, C, H, W) by factors of its own."""
        require_pictures(images, "colour")
        draw = uniform(images, generator, 3)
        factors = (1 + most * (2 * each - 1) for most, each in zip(self._strengths, draw, strict=True))
        return jittered(images, *factors)

    @property
    def _strengths(self) -> tuple[float, float, float]:
        return self.brightness, self.contrast, self.saturation


def jittered(images: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Return uint8 images (N, C, H, W) changed by factors (N,), as torchvision's adjust_… do, rounded once."""
    bright, contrasted, saturated = (factor[:, None, None, None] for factor in (brightness, contrast, saturation))
    values = images.float().mul_(bright).clamp_(0, 255)
    values = values.lerp(_grey(values).mean(dim=(2, 3), keepdim=True), 1 - contrasted).clamp_(0, 255)
    if images.shape[1] > 1:
        values = values.lerp(_grey(values), 1 - saturated).clamp_(0, 255)
    return values.round_().to(images.dtype)


def _grey(values: Tensor) -> Tensor:
    """Return (N, 1, H, W)."""
    if values.shape[1] != 3:
        return values.mean(dim=1, keepdim=True)
    red, green, blue = (values[:, channel : channel + 1] for channel in range(3))
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


@dataclass(frozen=True)
class Erase:
    """Paint over a box with the image's mean colour, or with noise.

    `scale` is the box's share of the area, `ratio` its height to its width.
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    scale: tuple[Strength, Strength] = (0.02, 0.33)
    ratio: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = (0.3, 3.3)
    fill: Literal["mean", "noise"] = "mean"

    def __post_init__(self) -> None:
        require_order("scale", *self.scale)
        require_order("ratio", *self.ratio)

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Erase a box of each image (N, C, H, W) with the given probability."""
        require_pictures(images, "erase")
        rows, columns = images.shape[2:]
        chosen, area, ratio, x, y = uniform(images, generator, 5)
        area = between(*self.scale, area) * rows * columns
        ratio = between(math.log(self.ratio[0]), math.log(self.ratio[1]), ratio).exp()
        height, width = (area * ratio).sqrt().round().clamp(max=rows), (area / ratio).sqrt().round().clamp(max=columns)
        top, left = (y * (rows - height + 1)).floor(), (x * (columns - width + 1)).floor()
        painted = in_boxes(images, top, left, top + height, left + width)
        painted &= (chosen < self.probability)[:, None, None, None]
        return torch.where(painted, self._paint(images, generator), images)

    def _paint(self, images: Tensor, generator: Generator) -> Tensor:
        if self.fill == "noise":
            return torch.randint(
                0, 256, images.shape, generator=generator, device=generator.device, dtype=torch.uint8
            )  # fmt: skip
        return images.float().mean(dim=(2, 3), keepdim=True).round_().to(images.dtype)
