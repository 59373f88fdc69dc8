"""Read the files in which the named sets of one image size came, into arrays."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.cifar import Cifar
from graftwork_plugins.classic.idx_files import Pair, read_pair
from graftwork_plugins.classic.members import read_members

ANY = ImageFormat(size=32, channels=3)  # plugins of arrays return them as they are
STL10_SHAPE = (3, 96, 96)
STL10_MOST_BYTES = 512 << 20
STL10_MOST_IN_ALL = 4 << 30  # most of it unlabelled images, which are passed over

Read = Callable[[dict[str, Path]], RawImages]


def idx(classes: tuple[str, ...]) -> Read:
    """Return a reader of MNIST's four files."""

    def read(files: dict[str, Path]) -> RawImages:
        pairs = [
            Pair(files[f"{name}-images-idx3-ubyte.gz"], files[f"{name}-labels-idx1-ubyte.gz"], split)
            for name, split in (("train", "train"), ("t10k", "test"))
        ]
        return joined([read_pair(pair) for pair in pairs], classes)

    return read


def cifar(files: dict[str, Path]) -> RawImages:
    """Read CIFAR's archive."""
    (archive,) = files.values()
    return Cifar().load(archive, ANY)


def svhn(classes: tuple[str, ...]) -> Read:
    """Return a reader of the two .mat files; the digit 0, which they call 10, becomes 0 (as torchvision does)."""

    def read(files: dict[str, Path]) -> RawImages:
        parts = [_svhn_part(files[f"{part}_32x32.mat"]) for part in ("train", "test")]
        return joined(parts, classes)

    return read


def _svhn_part(file: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    found = read_mat(file, ("X", "y"))
    pixels, labels = found["X"], found["y"]
    if pixels.ndim != 4 or pixels.shape[:3] != (32, 32, 3) or pixels.dtype != np.uint8:
        what = f"X is {pixels.dtype} of shape {pixels.shape}"
        raise DataError(what, where=str(file), expected="bytes of shape (32, 32, 3, N)", fix="fetch it anew")
    if labels.size != pixels.shape[3] or not np.isin(labels, np.arange(1, 11)).all():
        raise DataError("y isn't a label from 1 to 10 for each image", where=str(file), fix="fetch it anew")
    return np.ascontiguousarray(pixels.transpose(3, 2, 0, 1)), labels.reshape(-1).astype(np.int64) % 10


def stl10(classes: tuple[str, ...]) -> Read:
    """Return a reader of the archive's labelled images, whose planes are written column by column."""

    def read(files: dict[str, Path]) -> RawImages:
        (archive,) = files.values()
        names = {f"{part}_{kind}.bin" for part in ("train", "test") for kind in "Xy"}
        found = read_members(archive, names, STL10_MOST_BYTES, STL10_MOST_IN_ALL)
        if len(found) < len(names):
            raise DataError(f"Files are missing: {', '.join(sorted(names - found.keys()))}", where=str(archive))
        return joined([_stl10_part(found, part, archive) for part in ("train", "test")], classes)

    return read


def _stl10_part(
    found: dict[str, bytes], part: str, archive: Path
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:  # fmt: skip
    pixels = np.frombuffer(found[f"{part}_X.bin"], dtype=np.uint8)
    labels = np.frombuffer(found[f"{part}_y.bin"], dtype=np.uint8).astype(np.int64) - 1
    if pixels.size != len(labels) * int(np.prod(STL10_SHAPE)):
        raise DataError(f"{part}_X.bin has not as many images as {part}_y.bin labels", where=str(archive))
    return pixels.reshape(-1, *STL10_SHAPE).transpose(0, 1, 3, 2), labels


def read_mat(file: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Return these arrays of a MATLAB file, and read no others. Raises DataError."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        found = loadmat(file, variable_names=names)
    except (MatReadError, OSError, ValueError, TypeError, KeyError, NotImplementedError, zlib.error) as error:
        raise DataError(f"The .mat file can't be read: {error}", where=str(file), fix="fetch it anew") from None
    for name in names:
        if not isinstance(found.get(name), np.ndarray) or found[name].dtype.kind not in "ui":
            raise DataError(f"The .mat file has no numbers {name!r}", where=str(file), fix="fetch it anew")
    return {name: found[name] for name in names}


def joined(parts: list[tuple[NDArray[np.uint8], NDArray[Any]]], classes: tuple[str, ...]) -> RawImages:
    """Return training and test images, (N, H, W) or (N, C, H, W), as one."""
    split = np.repeat(["train", "test"], [len(labels) for _, labels in parts])
    images = np.concatenate([images for images, _ in parts])
    labels = np.concatenate([labels for _, labels in parts]).astype(np.int64)
    return RawImages(images[:, None] if images.ndim == 3 else images, labels, classes, split)
