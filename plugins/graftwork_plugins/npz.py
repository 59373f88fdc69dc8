"""Images and labels in a NumPy .npz archive, read without executing anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.annotations import require_distinct, texts_of
from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.npz_files import EXPECTED, read_archive


@dataclass(frozen=True)
class Npz:
    """An archive with `images`, `labels`, or `x_train`, `y_train`, `x_test`, `y_test`; optionally `classes`.

    Images are uint8, (N, H, W) or (N, H, W, 1 or 3). `keep` takes some classes alone, by their number.
    """

    keep: tuple[int, ...] | None = None

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Read the archive; raises DataError for what isn't images with labels."""
        arrays = read_archive(path)
        images, labels, split = _assemble(arrays, path)
        names = _class_names(arrays, labels, path)
        return select_classes(RawImages(images, labels, names, split, {"file": path.name}), self.keep, path)


def select_classes(raw: RawImages, keep: tuple[int, ...] | None, path: Path) -> RawImages:
    """Return the images of the classes `keep`, renumbered in that order; all for None."""
    if keep is None:
        return raw
    unknown = [number for number in keep if not 0 <= number < len(raw.classes)]
    if unknown or len(set(keep)) != len(keep):
        raise DataError(
            f"keep: {list(keep)} names classes that don't exist, or one twice", where=str(path),
            expected=f"numbers from 0 to {len(raw.classes) - 1}", fix="correct keep in params.yaml",
        )  # fmt: skip
    renumbered = np.full(len(raw.classes), -1, dtype=np.int64)
    renumbered[list(keep)] = np.arange(len(keep))
    raw.check(str(path))
    chosen = renumbered[raw.labels] >= 0
    split = None if raw.split is None else raw.split[chosen]
    names = tuple(raw.classes[number] for number in keep)
    return RawImages(raw.images[chosen], renumbered[raw.labels[chosen]], names, split, raw.origin)


def _assemble(
    arrays: Mapping[str, NDArray[Any]], path: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.str_] | None]:
    if {"images", "labels"} <= arrays.keys():
        return _images(arrays["images"], path), _labels(arrays["labels"], path), None
    if {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        parts = [_images(arrays[f"x_{name}"], path) for name in ("train", "test")]
        labels = np.concatenate([_labels(arrays[f"y_{name}"], path) for name in ("train", "test")])
        if parts[0].shape[1:] != parts[1].shape[1:]:
            raise DataError(
                f"Training images are (C, H, W) {parts[0].shape[1:]}, test images {parts[1].shape[1:]}",
                where=str(path), expected="one shape", fix="convert them",
            )  # fmt: skip
        split = np.repeat(["train", "test"], [len(part) for part in parts])
        return np.concatenate(parts), labels, split
    raise DataError(f"The archive holds {listed(arrays)}", where=str(path), expected=EXPECTED, fix="rename its arrays")


def _images(array: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if array.ndim == 3:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] not in (1, 3) or not array.size:
        raise DataError(
            f"The images are {array.dtype} of shape {array.shape}", where=str(path),
            expected="uint8, (N, H, W) or (N, H, W, 1 or 3)", fix="convert them",
        )  # fmt: skip
    return np.ascontiguousarray(array.transpose(0, 3, 1, 2))


def _labels(array: NDArray[Any], path: Path) -> NDArray[np.int64]:
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"The labels are {array.dtype} of shape {array.shape}", where=str(path),
            expected="integers, one for each image", fix="convert them",
        )  # fmt: skip
    return array.astype(np.int64)


def _class_names(
    arrays: Mapping[str, NDArray[Any]], labels: NDArray[np.int64], path: Path
) -> tuple[str, ...]:  # fmt: skip
    """Return the names that the archive lists, or the numbers up to the largest label."""
    if "classes" in arrays:
        names = tuple(texts_of(arrays["classes"], "classes", str(path)))
        require_distinct(names, str(path))
        return names
    largest = int(labels.max(initial=-1))
    if largest >= len(labels):
        raise DataError(
            f"The label {largest} of image {int(labels.argmax())} is out of range: there are {len(labels)} images",
            where=str(path), expected="numbers from 0 upwards, each with images", fix="number the classes anew",
        )  # fmt: skip
    return tuple(map(str, range(largest + 1)))
