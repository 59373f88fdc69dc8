"""Fetch: read a dataset through its plugin and store it, with a card, as arrays."""

from __future__ import annotations

from collections import Counter

import numpy as np

from graftwork.files import atomic_folder, write_json
from graftwork.images import RawImages, conform
from graftwork.settings import DataSettings
from graftwork.stages import Context


def fetch(context: Context, data: str) -> None:
    """Read `source` or `target` into data/raw: images.npy (N, C, H, W), labels.npy, split.npy, card.json."""
    chosen: DataSettings = getattr(context.settings.data, data)
    image = context.settings.image_of(data)
    path = context.layout.root / chosen.path
    raw: RawImages = context.registry.create("dataset", chosen.dataset).load(path, image)
    raw.check(where=str(path))
    images = conform(raw.images, image)
    with atomic_folder(context.layout.raw(data)) as folder:
        np.save(folder / "images.npy", images, allow_pickle=False)
        np.save(folder / "labels.npy", raw.labels.astype(np.int64), allow_pickle=False)
        if raw.split is not None:
            np.save(folder / "split.npy", raw.split.astype("U10"), allow_pickle=False)
        write_json(folder / "card.json", _card(raw, chosen.dataset.name, chosen.path))
    context.progress.log(f"{len(images):,} images of {len(raw.classes)} classes from {chosen.path}")


def _card(raw: RawImages, plugin: str, path: str) -> dict[str, object]:
    counts = Counter(raw.labels.tolist())
    return {
        "dataset": plugin,
        "path": path,
        "classes": list(raw.classes),
        "counts": [counts[index] for index in range(len(raw.classes))],
        "stored_shape": list(raw.images.shape[1:]),
        "origin": raw.origin,
    }
