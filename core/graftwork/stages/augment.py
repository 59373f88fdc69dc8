"""Augment: split the images without leaks, measure their statistics, and show what augmentation does."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graftwork.errors import DataError
from graftwork.files import atomic_file, atomic_folder, write_json
from graftwork.images import Images, Indices, RawImages
from graftwork.labelled_arrays import chunks
from graftwork.near_duplicates import look_alikes
from graftwork.prepared_data import LookAlikes, PreparedData
from graftwork.registry import Kind
from graftwork.seeds import generator
from graftwork.selection import Selector
from graftwork.settings import DataSettings, Use
from graftwork.soft_labels import augmented
from graftwork.splits import Splits, split_images
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw
from graftwork.storage import save_split
from graftwork.vectors import SHOWN, heat_map, vector_statistics
from graftwork.warps import fused

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
            save_split(folder, raw.images, raw.labels, indices)
    counts = {
        name: np.bincount(raw.labels[indices], minlength=len(raw.classes)).tolist()
        for name, indices in splits.by_name().items()
    }
    mean, std = statistics(raw.images[chunk] for chunk in chunks(raw.images, splits.train))
    _draw_samples(context, settings, raw.images, splits.train, layout.samples(data))
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


def statistics(parts: Iterable[NDArray[Any]]) -> tuple[list[float], list[float]]:
    """Return mean and standard deviation per channel of images that come in parts (n, C, H, W), scaled to 0…1.

    They come from counts of each value, which are exact: neither the parts nor their order decide a bit. Vectors'
    are divided alike.
    """
    parts = iter(parts)
    first = next(parts)
    if first.dtype != np.uint8:
        return vector_statistics(np.concatenate([first, *parts]))
    counts = _value_counts(first)
    for part in parts:
        counts += _value_counts(part)
    values, pixels = np.arange(256), counts.sum(axis=1)
    mean = counts @ values / pixels
    std = np.sqrt((counts * (values - mean[:, None]) ** 2).sum(axis=1) / pixels)
    if (std == 0).any():
        raise DataError(
            "All training images are of one flat colour", expected="images that differ",
            fix="look at the files: are they what they should be?",
        )  # fmt: skip
    return (mean / 255).round(6).tolist(), (std / 255).round(6).tolist()


def _value_counts(images: NDArray[Any]) -> NDArray[np.int64]:
    """Return how often each value stands in each channel, (C, 256)."""
    channels = (torch.from_numpy(channel.flatten()) for channel in np.moveaxis(images, 1, 0))
    return np.stack([torch.bincount(channel, minlength=256).numpy() for channel in channels])


def _draw_samples(context: Context, settings: DataSettings, images: Images, train: Indices, path: Path) -> None:
    """Draw some training images in the top row and three augmented views of each below; vectors as a row of cells."""
    count = SAMPLES if images.dtype == np.uint8 else SHOWN
    chosen = torch.from_numpy(images[train[:: max(1, len(train) // count)][:count]])
    draws = generator(torch.device("cpu"), context.settings.seed, "samples")
    rows = [chosen]
    augmentations = fused(context.registry.augmentations(settings))
    rows += [augmented(augmentations, chosen, draws)[0] for _ in range(3 if augmentations else 0)]
    with atomic_file(path) as temporary:
        Image.fromarray(_sheet(rows)).save(temporary, format="png")


def _sheet(rows: list[torch.Tensor]) -> NDArray[np.uint8]:
    """Return rows of images (N, C, H, W) as one picture, grey unless they have three channels."""
    if rows[0].dtype != torch.uint8:
        return heat_map(torch.cat(rows).numpy())
    sheet = torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)  # (C, rows·H, columns·W)
    pixels: NDArray[np.uint8] = sheet.permute(1, 2, 0).numpy()
    if pixels.shape[-1] == 3:
        return pixels
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels.mean(axis=-1).round().astype(np.uint8)
