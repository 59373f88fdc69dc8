"""Augmentation of whole batches with a draw per image: gathers and one `grid_sample`, no Python loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Generator, Tensor

from graftwork.errors import SettingsError

# N images, C channels, H height, W width; images are uint8 throughout.


@dataclass(frozen=True)
class Flip:
    """Mirror left and right."""

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Flip each image (N, C, H, W) with the given probability."""
        _require_pictures(images, "flip")
        chosen = torch.rand(len(images), generator=generator, device=generator.device) < self.probability
        return torch.where(chosen[:, None, None, None], images.flip(-1), images)


@dataclass(frozen=True)
class Shift:
    """Move by whole pixels in both directions: a random crop of the padded image. `fraction`: of a side, instead."""

    pixels: Annotated[int, Field(ge=0)] = 2
    fraction: Annotated[float, Field(gt=0, lt=1)] | None = None

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Shift each image (N, C, H, W) by up to `pixels`, repeating its border."""
        _require_pictures(images, "shift")
        count, channels, height, width = images.shape
        most = self.pixels if self.fraction is None else round(self.fraction * height)
        draw = torch.randint(-most, most + 1, (2, count, 1), generator=generator, device=generator.device)
        rows = (torch.arange(height, device=images.device) + draw[0]).clamp_(0, height - 1)  # (N, H)
        columns = (torch.arange(width, device=images.device) + draw[1]).clamp_(0, width - 1)  # (N, W)
        flat = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)  # (N, 1, H·W)
        return images.flatten(2).gather(2, flat.expand(-1, channels, -1)).view_as(images)


@dataclass(frozen=True)
class Rotate:
    """Turn about the centre, bilinear, the border repeated."""

    degrees: Annotated[float, Field(ge=0, le=180)] = 10.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Rotate each image (N, C, H, W) by an angle uniform in ±`degrees`."""
        _require_pictures(images, "rotate")
        draw = torch.rand(len(images), generator=generator, device=generator.device) * 2 - 1
        angle = draw * math.radians(self.degrees)
        zero, aspect = torch.zeros_like(angle), images.shape[2] / images.shape[3]
        first = torch.stack((angle.cos(), -angle.sin() * aspect, zero), dim=1)
        second = torch.stack((angle.sin() / aspect, angle.cos(), zero), dim=1)
        matrix = torch.stack((first, second), dim=1)  # (N, 2, 3), in the grid's units: half a side is 1
        grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
        turned = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
        return turned.round_().clamp_(0, 255).to(images.dtype)


def _require_pictures(images: Tensor, name: str) -> None:
    """Raise SettingsError for vectors; the stage augment calls every augmentation once, before any training."""
    if images.dtype != torch.uint8:
        raise SettingsError(
            f"The augmentation {name!r} is for pictures, and the data is vectors",
            where="params.yaml, key augmentation", fix="set augmentation: [] for this data",
        )  # fmt: skip
