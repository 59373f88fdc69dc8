"""Augmentations that mix the images of a batch and their labels: mixup and CutMix, a draw for each image.

As timm defines them, mode `elem`: an image's partner is the one at the same place from the batch's end, which is
chance, as batches are shuffled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from graftwork.soft_labels import Blend
from graftwork_plugins.augmentations.drawing import in_boxes, require_pictures, uniform

# N images, C channels, H height, W width

Alpha = Annotated[float, Field(ge=0.05)]  # below, nearly every draw is 0 or 1, and some are neither in float64
Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class MixUp:
    """Average each image, or vector, with another, λ ~ Beta(α, α), and their labels (Zhang et al., ICLR 2018)."""

    alpha: Alpha = 0.2
    probability: Probability = 1.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the images alone, to look at."""
        return self.mixed(images, generator)[0]

    def mixed(self, images: Tensor, generator: Generator) -> tuple[Tensor, Blend]:
        """Mix each image (N, C, H, W) with its partner."""
        shares = _shares(images, generator, self.alpha, self.probability)
        values = images.float()
        values = values.flip(0).lerp_(values, shares[:, None, None, None])
        return values.round_().to(torch.uint8) if images.dtype == torch.uint8 else values, Blend(
            _partners(images), shares
        )


@dataclass(frozen=True)
class CutMix:
    """Put a box of another image into each, of 1 − λ of its area, λ ~ Beta(α, α) (Yun et al., ICCV 2019, 1905.04899).

    The labels are mixed by the area that the box really has, as it may stand out of the image.
    """

    alpha: Alpha = 1.0
    probability: Probability = 1.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the images alone, to look at."""
        return self.mixed(images, generator)[0]

    def mixed(self, images: Tensor, generator: Generator) -> tuple[Tensor, Blend]:
        """Mix each image (N, C, H, W) with its partner."""
        require_pictures(images, "cutmix")
        shares = _shares(images, generator, self.alpha, self.probability)
        x, y = uniform(images, generator, 2)
        inside = in_boxes(images, *boxes(images.shape[2], images.shape[3], shares, x, y))
        kept = 1 - inside.float().mean(dim=(1, 2, 3))
        return torch.where(inside, images.flip(0), images), Blend(_partners(images), kept)


def boxes(height: int, width: int, shares: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return top, left, bottom and right (N,) of boxes of 1 − share of the area about points x, y in 0…1; cut off."""
    side = (1 - shares).sqrt()
    up, across = (side * height).floor(), (side * width).floor()
    row, column = (y * height).floor(), (x * width).floor()
    top, left = row - (up / 2).floor(), column - (across / 2).floor()
    bottom, right = top + up, left + across
    return top.clamp(min=0), left.clamp(min=0), bottom.clamp(max=height), right.clamp(max=width)


def _shares(images: Tensor, generator: Generator, alpha: float, probability: float) -> Tensor:
    """Return λ of each image (N,); 1 for those that stay."""
    concentration = torch.full((len(images), 2), alpha, dtype=torch.float64, device=generator.device)
    drawn = torch._sample_dirichlet(concentration, generator=generator)[:, 0].float()
    (chosen,) = uniform(images, generator, 1)
    return torch.where(chosen < probability, drawn, 1.0)


def _partners(images: Tensor) -> Tensor:
    return torch.arange(len(images) - 1, -1, -1, device=images.device)
