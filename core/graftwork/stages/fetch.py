"""Fetch: read a dataset through its plugin and store it, with a card, as arrays or encoded."""

from __future__ import annotations

from collections import Counter
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from graftwork.files import atomic_folder, read_json, write_json
from graftwork.image_names import stored_names, write_names
from graftwork.images import RawImages
from graftwork.progress import Progress, parts
from graftwork.settings import ImageFormat
from graftwork.stages import Context
from graftwork.stages.obtain import require_obtained
from graftwork.storage import choose_storage, decoded_bytes, load_images, save_images


def fetch(context: Context, data: str) -> None:
    """Read the data set `data` into data/raw: its images as they are stored, labels.npy, split.npy, card.json, and
    names.jsonl where images have names.

    Images are images.npy (N, C, H, W), or images.bin with offsets.npy; never more than a few of them are in memory,
    unless the plugin read them all. Raises Interrupted when asked to stop.
    """
    chosen, image = context.settings.data[data], context.settings.image_of(data)
    path = context.layout.root / chosen.path
    require_obtained(context, chosen.path)
    reading, storing = parts(context.progress, ("reading", "storing")).values()
    raw = _read(context.registry.create("dataset", chosen.dataset), path, image, reading)
    raw.check(where=str(path))
    reading.finish()
    storage = choose_storage(chosen.storage, raw.images, image)
    with atomic_folder(context.layout.raw(data)) as folder:
        save_images(folder, raw.images, image, storage, storing)
        np.save(folder / "labels.npy", raw.labels.astype(np.int64), allow_pickle=False)
        if raw.split is not None:
            np.save(folder / "split.npy", raw.split.astype("U10"), allow_pickle=False)
        if raw.names is not None:
            write_names(folder, raw.names)
        write_json(folder / "card.json", _card(raw, chosen.dataset.name, chosen.path, storage))
    way = "stored as arrays of" if storage == "arrays" else "stored encoded; as arrays they would take"
    stored = f"{way} {decoded_bytes(raw.images, image) / 2**20:,.1f} MiB"
    context.progress.log(f"{len(raw.images):,} images of {len(raw.classes)} classes from {chosen.path}, {stored}")


def _read(plugin: Any, path: Path, image: ImageFormat, progress: Progress) -> RawImages:
    """Let a plugin read its data; it gets the progress where its `load` has an argument of that name."""
    more = {"progress": progress} if "progress" in signature(plugin.load).parameters else {}
    raw: RawImages = plugin.load(path, image, **more)
    return raw


def load_raw(folder: Path) -> tuple[RawImages, dict[str, Any]]:
    """Read what `fetch` wrote into a folder: the images, which stay on disk, and the card."""
    card = read_json(folder / "card.json")
    split = folder / "split.npy"
    raw = RawImages(
        images=load_images(folder),
        labels=np.load(folder / "labels.npy", allow_pickle=False),
        classes=tuple(card["classes"]),
        split=np.load(split, allow_pickle=False) if split.exists() else None,
        names=stored_names(folder),
    )
    return raw, card


def _card(raw: RawImages, plugin: str, path: str, storage: str) -> dict[str, object]:
    counts = Counter(raw.labels.tolist())
    return {
        "dataset": plugin,
        "path": path,
        "classes": list(raw.classes),
        "counts": [counts[index] for index in range(len(raw.classes))],
        "storage": storage,
        "stored_shape": list(raw.images.shape[1:]),
        "origin": raw.origin,
    }
