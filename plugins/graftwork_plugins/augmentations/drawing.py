"""What augmentations share: uniform draws, boxes, ranges in settings, the refusal of vectors."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from graftwork.errors import SettingsError


def uniform(images: Tensor, generator: Generator, kinds: int) -> Tensor:
    """Return draws from 0 to 1, (kinds, N)."""
    return torch.rand((kinds, len(images)), generator=generator, device=generator.device)


def between(low: float, high: float, draw: Tensor) -> Tensor:
    """Bring draws from 0…1 to low…high."""
    return low + (high - low) * draw


def in_boxes(images: Tensor, top: Tensor, left: Tensor, bottom: Tensor, right: Tensor) -> Tensor:
    """Return which pixels (N, 1, H, W) lie in each image's box; its last row and column are those before the end."""
    rows = torch.arange(images.shape[2], device=images.device)
    columns = torch.arange(images.shape[3], device=images.device)
    within_rows = (rows >= top[:, None]) & (rows < bottom[:, None])  # (N, H)
    within_columns = (columns >= left[:, None]) & (columns < right[:, None])  # (N, W)
    return (within_rows[:, :, None] & within_columns[:, None, :])[:, None]


def require_order(name: str, low: float, high: float) -> None:
    """Raise ValueError for a range that ends before it begins."""
    if low > high:
        raise ValueError(f"{name} is a range [low, high], and {low} is above {high}")


def require_pictures(images: Tensor, name: str) -> None:
    """Raise SettingsError for vectors; the stage augment calls every augmentation once, before any training."""
    if images.dtype != torch.uint8:
        raise SettingsError(
            f"The augmentation {name!r} is for pictures, and the data is vectors",
            where="params.yaml, key augmentation", fix="set augmentation: [] for this data",
        )  # fmt: skip
