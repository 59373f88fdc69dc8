"""Augmentations that move whole pixels: gathers, which are exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor

from graftwork.warps import affine
from graftwork_plugins.augmentations.drawing import require_pictures

# N images, C channels, H height, W width


@dataclass(frozen=True)
class Flip:
    """Mirror left and right."""

    gathers: ClassVar[bool] = True
    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Flip each image (N, C, H, W) with the given probability."""
        require_pictures(images, "flip")
        return torch.where(self._chosen(images, generator)[:, None, None, None], images.flip(-1), images)

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the mirrorings as maps."""
        require_pictures(images, "flip")
        sign = 1 - 2 * self._chosen(images, generator).float()
        zero, one = torch.zeros_like(sign), torch.ones_like(sign)
        return affine([(sign, zero, zero), (zero, one, zero)])

    def _chosen(self, images: Tensor, generator: Generator) -> Tensor:
        return torch.rand(len(images), generator=generator, device=generator.device) < self.probability


@dataclass(frozen=True)
class Shift:
    """Move by whole pixels in both directions: a random crop of the padded image. `fraction`: of a side, instead."""

    gathers: ClassVar[bool] = True
    pixels: Annotated[int, Field(ge=0)] = 2
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Shift each image (N, C, H, W) by up to `pixels`, repeating its border."""
        require_pictures(images, "shift")
        count, channels, height, width = images.shape
        draw = self._moves(images, generator)[:, :, None]
        rows = (torch.arange(height, device=images.device) + draw[0]).clamp_(0, height - 1)  # (N, H)
        columns = (torch.arange(width, device=images.device) + draw[1]).clamp_(0, width - 1)  # (N, W)
        flat = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)  # (N, 1, H·W)
        return images.flatten(2).gather(2, flat.expand(-1, channels, -1)).view_as(images)

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the moves as maps."""
        require_pictures(images, "shift")
        down, right = self._moves(images, generator).float()
        zero, one = torch.zeros_like(down), torch.ones_like(down)
        return affine([(one, zero, right), (zero, one, down)])

    def _moves(self, images: Tensor, generator: Generator) -> Tensor:
        """Return rows and columns to move by, (2, N)."""
        most = self.pixels if self.fraction is None else round(self.fraction * images.shape[2])
        shape = (2, len(images), 1)
        return torch.randint(-most, most + 1, shape, generator=generator, device=generator.device)[:, :, 0]
