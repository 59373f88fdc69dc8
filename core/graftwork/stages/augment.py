"""Augment: split the images without leaks, measure their statistics, and show what augmentation does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graftwork.files import atomic_file, atomic_folder, write_json
from graftwork.images import Images, Indices, RawImages
from graftwork.layout import SPLITS
from graftwork.looks import look
from graftwork.near_duplicates import look_alikes
from graftwork.prepared_data import LookAlikes, PreparedData
from graftwork.progress import Part, Progress, parts
from graftwork.registry import Kind
from graftwork.seeds import generator
from graftwork.selection import Selector
from graftwork.settings import DataSettings, Use
from graftwork.soft_labels import augmented
from graftwork.splits import Splits, split_images
from graftwork.stages import Context
from graftwork.stages.fetch import load_raw
from graftwork.storage import save_split
from graftwork.vectors import SHOWN, heat_map
from graftwork.warps import fused

SAMPLES = 10


def augment(context: Context, data: str) -> None:
    """Write each split, card.json with statistics of the training images, and samples.png.

    Raises Interrupted when asked to stop.
    """
    settings: DataSettings = context.settings.data[data]
    layout = context.layout
    raw, card = load_raw(layout.raw(data))
    part = parts(context.progress, ("looking", *SPLITS, "comparing"))
    seen = look(raw.images, part["looking"])
    part["looking"].finish()
    selector = Selector(context.registry.create("selection", settings.selection))
    splits = split_images(raw, settings, context.settings.seed, f"data.{data} ({settings.path})", selector, seen)
    _save_splits({name: layout.split(data, name) for name in SPLITS}, raw, splits, part)
    counts = {
        name: np.bincount(raw.labels[indices], minlength=len(raw.classes)).tolist()
        for name, indices in splits.by_name().items()
    }
    mean, std = seen.statistics(splits.train)
    _draw_samples(context, settings, raw.images, splits.train, layout.samples(data))
    card |= {
        "splits": counts, "duplicates_dropped": len(splits.dropped),
        "near_duplicates": _look_alikes(seen.small, splits, raw.names, part["comparing"]), "mean": mean, "std": std,
        "image": context.settings.image_of(data).model_dump(), "local_code": _local_code(context, settings),
        "augmentation": [use.model_dump(mode="json") for use in settings.augmentation],
    }  # fmt: skip
    if len(splits.dropped):  # a sweep leaves out the same ones, and decodes nothing to find them
        card["dropped"] = splits.dropped.tolist()
    write_json(layout.card(data), card)
    sizes = ", ".join(f"{len(indices):,} {name}" for name, indices in splits.by_name().items())
    context.progress.log(sizes)
    prepared = PreparedData.from_card(data, card)
    for warning in prepared.warnings() if prepared else ():
        context.progress.log(warning)


def _save_splits(folders: Mapping[str, Path], raw: RawImages, splits: Splits, part: Mapping[str, Part]) -> None:
    for name, indices in splits.by_name().items():
        with atomic_folder(folders[name]) as folder:
            save_split(folder, raw.images, raw.labels, indices, part[name])
        part[name].finish()


def _look_alikes(
    images: Images, splits: Splits, names: Iterable[str] | None, progress: Progress
) -> dict[str, Any]:  # fmt: skip
    """Return for the card what looks alike across splits; nothing of images of one pixel."""
    held = {"validation": splits.validation, "test": splits.test} if images.shape[2:] != (1, 1) else {}
    return {
        name: LookAlikes.of(look_alikes(images, numbers, splits.train, progress), names).as_json()
        for name, numbers in held.items()
    }


def _local_code(context: Context, settings: DataSettings) -> dict[str, str]:
    """Return the digests of the user's own code that a training on this data hangs on, but for strategies."""
    augmentations: list[tuple[Kind, Use]] = [("augmentation", use) for use in settings.augmentation]
    return context.registry.local_code([*augmentations, ("model", context.settings.model)])


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
