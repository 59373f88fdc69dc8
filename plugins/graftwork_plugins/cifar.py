"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) in their own archives, of the binary and of the Python version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.classic.cifar_versions import GRAINS, VERSIONS, Grain, Version
from graftwork_plugins.classic.members import read_members
from graftwork_plugins.npz import select_classes

MOST_BYTES = 200 << 20  # CIFAR-100's training file has 155 MB
MOST_IN_ALL = 512 << 20


@dataclass(frozen=True)
class Cifar:
    """CIFAR-10 or CIFAR-100: a folder of its files, or the .tar.gz, .tar or .zip of them. Pickles aren't executed.

    `labels` chooses CIFAR-100's 100 fine or 20 coarse classes. `keep` takes some classes alone, by their number.
    """

    keep: tuple[int, ...] | None = None
    labels: Grain = "fine"

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Read the batches and the names of the classes; raises DataError for what isn't whole."""
        files = _files(path)
        version = _version(files, path, self.labels)
        names = version.read_names(files[version.names.format(grain=self.labels)], self.labels, version.names)
        parts = [version.read(files[name], self.labels, name) for name in (*version.train, *version.test)]
        for file, (_, labels) in zip((*version.train, *version.test), parts, strict=True):
            _check_range(labels, names, file, path)
        counts = [len(labels) for _, labels in parts]
        split = np.repeat(["train"] * len(version.train) + ["test"] * len(version.test), counts)
        raw = RawImages(
            images=np.concatenate([images for images, _ in parts]),
            labels=np.concatenate([labels for _, labels in parts]),
            classes=names,
            split=split,
            origin={"file": path.name, "version": version.folder},
        )
        return select_classes(raw, self.keep, path)


def _files(path: Path) -> dict[str, bytes]:
    """Return the content of every file that a version may have, by name."""
    wanted = {name for version in VERSIONS for grain in GRAINS for name in version.files(grain)}
    if path.is_file():
        return read_members(path, wanted, MOST_BYTES, MOST_IN_ALL)
    inner = [path / version.folder for version in VERSIONS if (path / version.folder).is_dir()]
    folder = inner[0] if len(inner) == 1 else path
    if not folder.is_dir():
        raise DataError(
            "CIFAR's files are missing", where=str(path), expected="a folder, or the archive itself",
            fix="correct path in params.yaml",
        )  # fmt: skip
    files = [file for file in sorted(folder.iterdir()) if file.name in wanted and file.is_file()]
    large = [file for file in files if file.stat().st_size > MOST_BYTES]
    if large:
        raise DataError("The file is too large", where=str(large[0]), expected=f"at most {MOST_BYTES:,} bytes")
    return {file.name: file.read_bytes() for file in files}


def _version(files: dict[str, bytes], path: Path, grain: Grain) -> Version:
    """Return the version that these files are of; raise where some are missing, or coarse labels aren't there."""
    found = [version for version in VERSIONS if files.keys() & set(version.train)]
    if len(found) != 1:
        raise DataError(
            f"These are the files of {listed(v.folder for v in found)}" if found else "None of CIFAR's files are here",
            where=str(path), expected=f"the files of one of {listed(v.folder for v in VERSIONS)}",
            fix="correct path in params.yaml",
        )  # fmt: skip
    version = found[0]
    if grain == "coarse" and not version.coarse:
        raise DataError(
            "CIFAR-10 has no coarse labels", where=str(path), expected="labels: fine", fix="take labels: coarse away"
        )
    missing = [name for name in version.files(grain) if name not in files]
    if missing:
        raise DataError(
            f"Files are missing: {listed(missing)}", where=str(path), expected=listed(version.files(grain)),
            fix="fetch the archive anew",
        )  # fmt: skip
    return version


def _check_range(labels: NDArray[np.int64], names: tuple[str, ...], file: str, path: Path) -> None:
    wrong = np.flatnonzero((labels < 0) | (labels >= len(names)))
    if len(wrong):
        raise DataError(
            f"The label {labels[wrong[0]]} of image {wrong[0]} in {file} is out of range", where=str(path),
            expected=f"0 to {len(names) - 1}", fix="fetch the archive anew",
        )  # fmt: skip
