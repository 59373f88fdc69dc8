"""Images in idx files, as MNIST came in (LeCun, Cortes, Burges 1998), plain or gzipped.

A header of big-endian numbers, 0x0803 and N, H, W for images, 0x0801 and N for labels, then one byte a pixel or label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError
from graftwork.images import Labels, RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.classic.idx_files import find_pairs, read_pair
from graftwork_plugins.npz import select_classes


@dataclass(frozen=True)
class Idx:
    """MNIST's files: a folder of train-images-idx3-ubyte(.gz) and its fellows, or of one images file and its labels.

    `classes` names the classes in order; without it a class is called by its label. `keep` takes some classes alone, by
    their place in that order, from 0.
    """

    keep: tuple[int, ...] | None = None
    classes: tuple[str, ...] | None = None

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Read the files; raises DataError for what isn't whole."""
        pairs = find_pairs(path)
        parts = [read_pair(pair) for pair in pairs]
        shapes = {images.shape[1:] for images, _ in parts}
        if len(shapes) > 1:
            sizes = " and ".join(f"{width}×{height}" for height, width in sorted(shapes))
            raise DataError(f"The splits' images are of {sizes} pixels", where=str(path), expected="one size")
        split = None if pairs[0].split is None else np.repeat([p.split for p in pairs], [len(y) for _, y in parts])
        labels, names = _named(np.concatenate([labels for _, labels in parts]), self.classes, path)
        images = parts[0][0] if len(parts) == 1 else np.concatenate([images for images, _ in parts])
        origin = {"files": [file.name for pair in pairs for file in (pair.images, pair.labels)]}
        return select_classes(RawImages(images[:, None], labels, names, split, origin), self.keep, path)


def _named(found: NDArray[np.uint8], names: tuple[str, ...] | None, path: Path) -> tuple[Labels, tuple[str, ...]]:
    """Return the labels as places in the names of the classes, and these names.

    Labels that begin at 1, as those of EMNIST's letters, are named from 1; others from 0.
    """
    present = np.unique(found)
    if names is None:
        return np.searchsorted(present, found).astype(np.int64), tuple(map(str, present.tolist()))
    first = int(present[0] == 1 and present[-1] == len(names))
    labels = found.astype(np.int64) - first
    if labels.max() >= len(names):
        wrong = int(labels.argmax())
        raise DataError(
            f"The label {found[wrong]} of image {wrong} is out of range", where=str(path),
            expected=f"0 to {len(names) - 1}, or 1 to {len(names)}, as classes names {len(names)}",
            fix="name every class in params.yaml, or leave classes away",
        )  # fmt: skip
    return labels, names
