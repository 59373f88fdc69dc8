"""Look at a data set before any settings exist: which plugin reads it, what its classes, channels and sizes are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from graftwork.decoding import header, quietly
from graftwork.encoded_images import Sources
from graftwork.errors import DataError, listed
from graftwork.file_names import require_utf8_names
from graftwork.images import RawImages
from graftwork.names import printable
from graftwork.recognition import recognise
from graftwork.registry import Registry
from graftwork.settings import ImageFormat, Use

LOOKED_AT = ImageFormat(size=64, channels=3)  # what images are brought to where a plugin can't tell of their sizes
HEADERS = 400  # of pictures, all over the data


@dataclass(frozen=True)
class Outline:
    """What settings are filled in from: told by a look at data, or known of a published set before it is obtained."""

    dataset: str
    classes: int
    images: dict[str, int]  # by split, "" where none is given
    fewest: int  # training images of the class that has the fewest
    channels: int
    side: int  # the shorter one in pixels, in the median

    @property
    def training(self) -> int:
        """Images that aren't the data set's own test or validation images."""
        return self.images.get("train", self.images.get("", 0))

    @property
    def vectors(self) -> bool:
        """Whether there are numbers in place of pictures."""
        return self.side == 1

    def gives(self, split: str) -> bool:
        """Tell whether the data set brings a split of its own."""
        return split in self.images


@dataclass(frozen=True)
class Survey:
    """What a look at a data set found; `counts` are images of each class by split, "" where none is given."""

    dataset: str
    classes: tuple[str, ...]
    counts: dict[str, tuple[int, ...]]
    channels: int
    sides: tuple[int, int, int]  # the shorter side of images in pixels: least, median, greatest

    @property
    def outline(self) -> Outline:
        """What settings are filled in from."""
        images = {split: sum(counts) for split, counts in self.counts.items()}
        fewest, side = min(self.training), self.sides[1] if self.sides[2] > 1 else 1
        return Outline(self.dataset, len(self.classes), images, fewest, self.channels, side)

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
        things = "images" if self.sides[2] > 1 else "vectors"
        parts = ", ".join(f"{sum(counts):,} {split or things}" for split, counts in self.counts.items())
        least, median, greatest = self.sides
        size = f"{least}" if least == greatest else f"{least} to {greatest}, {median} in the median"
        uneven = f"; the largest has {self.imbalance:.1f} times as many {things} as the smallest"
        return [
            f"{len(self.classes)} classes: {listed(map(printable, self.classes))}",
            f"{parts}{uneven if self.imbalance > 1.05 else ', balanced'}",
            f"{'grey' if self.channels == 1 else 'colour'}, {size} pixels"
            if greatest > 1
            else f"{self.channels} features",
        ]


def survey(path: Path, registry: Registry, use: Use | None = None) -> Survey:
    """Look at the data at a path: read its names, labels and the sizes of some images. Raises DataError.

    `use` is the dataset plugin with its settings; without it, the one that the files tell.
    """
    require_utf8_names(path)
    try:
        use = use or Use.model_validate(recognise(path))
        plugin = registry.create("dataset", use)
        if hasattr(plugin, "survey"):
            found: Survey = plugin.survey(path)
            return found
        return survey_of(use.name, plugin.load(path, LOOKED_AT), path)
    except OSError as error:
        raise DataError(
            f"The data can't be read: {error.strerror or error}", where=str(error.filename or path),
            expected="files that may be read", fix="look at their permissions, or correct the path",
        ) from None  # fmt: skip


def survey_of(dataset: str, raw: RawImages, path: Path) -> Survey:
    """Return what images that were read tell. Raises DataError for images that can't be trained on."""
    raw.check(str(path))
    split = raw.split if raw.split is not None else np.full(len(raw.labels), "")
    side = min(raw.images.shape[2:])
    return Survey(
        dataset, raw.classes, counted(split.tolist(), raw.labels.tolist(), len(raw.classes)), raw.images.shape[1],
        (side, side, side),
    )  # fmt: skip


def survey_of_pictures(
    dataset: str, classes: Sequence[str], splits: Sequence[str], labels: Sequence[int], sources: Sources
) -> Survey:  # fmt: skip
    """Return what labels tell, and the headers of some pictures; those that have none are passed over."""
    some = range(0, len(sources), max(1, len(sources) // HEADERS))
    with quietly():
        headers = [told for number in some if (told := header(sources[number]))] or [(64, 3)]
    sides = sorted(side for side, _ in headers)
    counts, channels = counted(splits, labels, len(classes)), max(channels for _, channels in headers)
    return Survey(dataset, tuple(classes), counts, channels, (sides[0], sides[len(sides) // 2], sides[-1]))


def counted(splits: Sequence[str], labels: Sequence[int], classes: int) -> dict[str, tuple[int, ...]]:
    """Return the number of images of each class by split, in the order of training, validation, test."""
    order = sorted(set(splits), key=["", "train", "validation", "test"].index)
    pairs = [
        (split, np.array([label for s, label in zip(splits, labels, strict=True) if s == split])) for split in order
    ]
    return {split: tuple(np.bincount(found, minlength=classes).tolist()) for split, found in pairs}
