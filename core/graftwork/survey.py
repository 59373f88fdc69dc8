"""Look at a data set before any settings exist: which plugin reads it, what its classes, channels and sizes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.names import printable
from graftwork.registry import Registry
from graftwork.settings import ImageFormat, Use

LOOKED_AT = ImageFormat(size=64, channels=3)  # what images are brought to where a plugin can't tell of their sizes
TELLTALE = {  # names inside a folder, and the plugin that reads such a folder
    "*-idx[13]-ubyte*": "idx",
    "*.idx[13]-ubyte*": "idx",
    "data_batch_*": "cifar",
    "batches.meta*": "cifar",
    "train.bin": "cifar",
    "*.parquet": "table",
}
SUFFIXES = {".npz": "npz", ".parquet": "table", ".csv": "table", ".tsv": "table", ".gz": "cifar", ".tgz": "cifar"}


@dataclass(frozen=True)
class Survey:
    """What a look at a data set found; `counts` are images of each class by split, "" where none is given."""

    dataset: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    channels: int
    sides: tuple[int, int, int]  # the shorter side of images in pixels: least, median, greatest

    @property
    def splits(self) -> frozenset[str]:
        """The splits that the data set brings."""
        return frozenset(self.counts) - {""}

    @property
    def training(self) -> tuple[int, ...]:
        """Images of each class that aren't the data set's own test or validation images."""
        return self.counts.get("train", self.counts.get("", ()))

    @property
    def imbalance(self) -> float:
        """How many times as many training images the largest class has as the smallest."""
        return max(self.training) / max(1, min(self.training))

    def lines(self) -> list[str]:
        """Say it in a few lines."""
        parts = ", ".join(f"{sum(counts):,} {split or 'images'}" for split, counts in self.counts.items())
        least, median, greatest = self.sides
        size = f"{least}" if least == greatest else f"{least} to {greatest}, {median} in the median"
        uneven = f"; the largest has {self.imbalance:.1f} times as many images as the smallest"
        return [
            f"{len(self.classes)} classes: {listed(map(printable, self.classes))}",
            f"{parts}{uneven if self.imbalance > 1.05 else ', balanced'}",
            f"{'grey' if self.channels == 1 else 'colour'}, {size} pixels"
            if greatest > 1
            else f"{self.channels} features",
        ]


def recognise(path: Path) -> str:
    """Return the dataset plugin that reads what is at a path. Raises DataError for what none does."""
    if path.is_dir():
        found = next((plugin for name, plugin in TELLTALE.items() if any(path.glob(name))), None)
        return found or "image_folder"
    if path.is_file() and path.suffix.lower() in SUFFIXES:
        plugin = SUFFIXES[path.suffix.lower()]
        return "vectors" if plugin == "table" and _is_of_numbers(path) else plugin
    what = "isn't there" if not path.exists() else "is of no kind that is known by its name"
    raise DataError(
        f"The data {what}", where=str(path),
        expected="a folder of classes, or of idx, CIFAR or Parquet files; a file .npz, .csv, .tsv or .parquet",
        fix="correct the path, or set dataset and path in params.yaml by hand",
    )  # fmt: skip


def survey(path: Path, registry: Registry) -> Survey:
    """Look at the data at a path: read its names, labels and the sizes of some images. Raises DataError."""
    name = recognise(path)
    plugin = registry.create("dataset", Use.model_validate(name))
    if hasattr(plugin, "survey"):
        found: Survey = plugin.survey(path)
        return found
    return survey_of(name, plugin.load(path, LOOKED_AT))


def survey_of(dataset: str, raw: RawImages) -> Survey:
    """Return what images that were read tell."""
    split = raw.split if raw.split is not None else np.full(len(raw.labels), "")
    side = min(raw.images.shape[2:])
    return Survey(
        dataset, raw.classes, counted(split.tolist(), raw.labels.tolist(), len(raw.classes)), raw.images.shape[1],
        (side, side, side),
    )  # fmt: skip


def counted(splits: Sequence[str], labels: Sequence[int], classes: int) -> dict[str, tuple[int, ...]]:
    """Return the number of images of each class by split, in the order of training, validation, test."""
    order = sorted(set(splits), key=["", "train", "validation", "test"].index)
    pairs = [
        (split, np.array([label for s, label in zip(splits, labels, strict=True) if s == split])) for split in order
    ]
    return {split: tuple(np.bincount(found, minlength=classes).tolist()) for split, found in pairs}


def _is_of_numbers(path: Path) -> bool:
    """Tell a table of plain vectors from one that names images: a number begins its second line."""
    if path.suffix.lower() == ".parquet":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        file.readline()
        first = file.readline().replace("\t", ",").partition(",")[0].strip()
    try:
        float(first)
    except ValueError:
        return False
    return True
