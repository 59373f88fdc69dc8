"""Write a named set in one form, so that a mirror and the network give equal bytes."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.files import atomic_file
from graftwork.images import RawImages

SUMMED = ("x_train", "y_train", "x_test", "y_test")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write an .npz whose bytes hang on nothing but the arrays: no times, no compression, which differs by zlib."""
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            info.create_system, info.external_attr = 3, 0o644 << 16
            with archive.open(info, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)


def arrays_of(raw: RawImages) -> dict[str, NDArray[Any]]:
    """Return x_train, y_train, x_test, y_test and classes: images (N, H, W) or (N, H, W, 3), labels as bytes."""
    arrays: dict[str, NDArray[Any]] = {}
    for part in ("train", "test"):
        chosen = raw.split == part
        images = raw.images[chosen]
        arrays[f"x_{part}"] = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
        arrays[f"y_{part}"] = raw.labels[chosen].astype(np.uint8)
    arrays["classes"] = np.array(raw.classes)
    return arrays


def sum_of(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the sha256 of a set's pixels and labels, as they are written; its classes' names aren't in it."""
    found = hashlib.sha256()
    for name in SUMMED:
        found.update(np.ascontiguousarray(arrays[name]).data)
    return found.hexdigest()
