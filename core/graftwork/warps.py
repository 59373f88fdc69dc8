"""Maps of the plane, one for each image: those that stand in a row are composed, and pixels interpolated once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

# N images, C channels, H height, W width


@runtime_checkable
class Geometric(Protocol):
    """An augmentation that is an affine map. One that moves whole pixels says so by a class attribute `gathers`."""

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Return the views of images (N, C, H, W)."""

    def matrices(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw what `__call__` draws, and return where each pixel comes from, (N, 3, 3).

        A matrix takes (x, y, 1) of the view to that of the image: in pixels from the centre, x right, y down.
        """


@dataclass(frozen=True)
class Warps:
    """Affine augmentations in a row, as one."""

    maps: tuple[Geometric, ...]

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """Draw for each of them in turn, and interpolate once."""
        composed = self.maps[0].matrices(images, generator)
        for following in self.maps[1:]:
            composed = composed @ following.matrices(images, generator)
        return warped(images, composed)


def fused(augmentations: Sequence[Any]) -> list[Any]:
    """Put `Warps` in place of two or more affine augmentations in a row, unless all of them move whole pixels.

    Each draws as it would alone. Their views differ from those one after the other by what is not rounded and blurred
    in between, and near the border, which is repeated once, at the end.
    """
    found: list[Any] = []
    for geometric, run in groupby(augmentations, key=lambda one: isinstance(one, Geometric)):
        row = tuple(run)
        joined = geometric and len(row) > 1 and not all(getattr(one, "gathers", False) for one in row)
        found += [Warps(row)] if joined else row
    return found


def warped(images: Tensor, matrices: Tensor) -> Tensor:
    """Return uint8 images (N, C, H, W) seen through maps (N, 3, 3): bilinear, the border repeated, rounded once."""
    height, width = images.shape[2:]
    half = [[1, height / width, 2 / width], [width / height, 1, 2 / height]]  # the grid's units: half a side is 1
    theta = matrices[:, :2] * torch.tensor(half, device=matrices.device)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    turned = F.grid_sample(images.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return turned.round_().to(images.dtype)


def affine(rows: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return maps (N, 3, 3) from the entries (N,) of their first two rows."""
    first, second = (torch.stack(list(row), dim=1) for row in rows)
    last = first.new_tensor([0.0, 0.0, 1.0]).expand(len(first), 3)
    return torch.stack((first, second, last), dim=1)
