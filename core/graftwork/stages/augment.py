"""Augment: split the images without leaks, measure their statistics, and show what augmentation does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from graftwork.errors import DataError
from graftwork.files import atomic_file, atomic_folder, write_json
from graftwork.images import Pixels, RawImages, save_split
from graftwork.near_duplicates import look_alikes
from graftwork.prepared_data import LookAlikes, PreparedData
from graftwork.registry import Kind
from graftwork.seeds import generator
from graftwork.selection import Selector
from graftwork.settings import DataSettings, Use
from graftwork.splits import Splits, split_images
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw

SAMPLES = 10


def augment(context: Context, data: str) -> None:
    """Write each split, card.json with statistics of the training images, and samples.png."""
    settings: DataSettings = context.settings.data[data]
    layout = context.layout
    raw, card = load_raw(layout.raw(data))
    selector = Selector(context.registry.create("selection", settings.selection))
    splits = split_images(raw, settings, context.settings.seed, f"data.{data} ({settings.path})", selector)
    for name, indices in splits.by_name().items():
        with atomic_folder(layout.split(data, name)) as folder:
            save_split(folder, raw.images[indices], raw.labels[indices])
    counts = {
        name: np.bincount(raw.labels[indices], minlength=len(raw.classes)).tolist()
        for name, indices in splits.by_name().items()
    }
    mean, std = statistics(raw.images[splits.train])
    _draw_samples(context, settings, raw.images[splits.train], layout.samples(data))
    card |= {
        "splits": counts, "duplicates_dropped": len(splits.dropped), "near_duplicates": _look_alikes(raw, splits),
        "mean": mean, "std": std,
        "image": context.settings.image_of(data).model_dump(), "local_code": _local_code(context, settings),
        "augmentation": [use.model_dump(mode="json") for use in settings.augmentation],
    }  # fmt: skip
    write_json(layout.card(data), card)
    sizes = ", ".join(f"{len(indices):,} {name}" for name, indices in splits.by_name().items())
    context.progress.log(sizes)
    prepared = PreparedData.from_card(data, card)
    for warning in prepared.warnings() if prepared else ():
        context.progress.log(warning)


def _look_alikes(raw: RawImages, splits: Splits) -> dict[str, Any]:
    """Return for the card what looks alike across splits; nothing of images of one pixel."""
    held = {"validation": splits.validation, "test": splits.test} if raw.images.shape[2:] != (1, 1) else {}
    return {
        name: LookAlikes.of(look_alikes(raw.images, numbers, splits.train)).as_json() for name, numbers in held.items()
    }


def _local_code(context: Context, settings: DataSettings) -> dict[str, str]:
    """Return the digests of the user's own code that a training on this data hangs on, but for strategies."""
    augmentations: list[tuple[Kind, Use]] = [("augmentation", use) for use in settings.augmentation]
    return context.registry.local_code([*augmentations, ("model", context.settings.model)])


def statistics(images: Pixels) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of images (N, C, H, W), scaled to 0…1."""
    mean = images.mean(axis=(0, 2, 3), dtype=np.float64) / 255
    std = images.std(axis=(0, 2, 3), dtype=np.float64) / 255
    if (std == 0).any():
        raise DataError(
            "All training images are of one flat colour", expected="images that differ",
            fix="look at the files: are they what they should be?",
        )  # fmt: skip
    return mean.round(6).tolist(), std.round(6).tolist()


def _draw_samples(context: Context, settings: DataSettings, images: Pixels, path: Path) -> None:
    """Draw some images in the top row and three augmented views of each below."""
    chosen = torch.from_numpy(images[:: max(1, len(images) // SAMPLES)][:SAMPLES].copy())
    draws = generator(torch.device("cpu"), context.settings.seed, "samples")
    rows = [chosen]
    for _ in range(3 if settings.augmentation else 0):
        view = chosen
        for use in settings.augmentation:
            view = context.registry.create("augmentation", use)(view, draws)
        rows.append(view)
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)  # (C, rows·H, columns·W)
    pixels = sheet.permute(1, 2, 0).numpy()
    with atomic_file(path) as temporary:
        Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).save(temporary, format="png")
