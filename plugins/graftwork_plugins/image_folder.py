"""Images in class folders: `root/<class>/*.jpg`, or `root/{train,validation,test}/<class>/*.jpg`."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from graftwork.decoding import EXTENSIONS, require_picture_format
from graftwork.desk import TOLD
from graftwork.encoded_images import EncodedImages
from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.inspection import inspect
from graftwork.progress import Progress, Quiet
from graftwork.settings import ImageFormat
from graftwork.survey import Survey, survey_of_pictures

SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "test": "test",
}
LAYOUT = "<path>/<class>/*.jpg, or <path>/{train,validation,test}/<class>/*.jpg"


@dataclass(frozen=True)
class ImageFolder:
    """Class folders, with or without given splits. Unreadable images end the run, or are skipped and listed."""

    unreadable: Literal["fail", "skip"] = "fail"

    def load(
        self,
        path: Path,
        image: ImageFormat,
        progress: Progress = Quiet(),  # noqa: B008  # it has no state
    ) -> RawImages:
        """Return the images, still encoded; each was decoded once, to see that it can be.

        Raises DataError for what a folder of images can't be.
        """
        require_picture_format(image, str(path))
        found = _scan(path)
        classes = _class_names(found, path)
        inspected = inspect(lambda number: found[number].file, len(found), image, progress)
        faults = inspected.faults
        failures = [
            f"{_printable(e.file.relative_to(path))}: {fault}" for e, fault in zip(found, faults, strict=True) if fault
        ]
        if failures and self.unreadable == "fail":
            raise DataError(
                f"{len(failures)} of {len(found)} images can't be read: {listed(failures, 5)}", where=str(path),
                fix="mend or delete them, or set dataset: {image_folder: {unreadable: skip}}",
            )  # fmt: skip
        good = [entry for entry, fault in zip(found, faults, strict=True) if not fault]
        if not good:
            raise DataError("No image can be read", where=str(path), expected=LAYOUT, fix="look at the files")
        files = [entry.file for entry in good]
        number = {name: index for index, name in enumerate(classes)}
        given = any(entry.split for entry in good)
        return RawImages(
            images=EncodedImages(files, image),
            labels=np.array([number[entry.label] for entry in good], dtype=np.int64),
            classes=tuple(classes),
            split=np.array([entry.split for entry in good]) if given else None,
            origin={
                "folder": path.name,
                "skipped": failures,
                "ignored_extensions": _ignored(path),
                "remarks": inspected.remarks,
            },
            names=_Names(files, path),
        )

    def survey(self, path: Path) -> Survey:
        """Count all images, and look at the headers of some."""
        found = _scan(path)
        classes = _class_names(found, path)
        splits, labels = [e.split for e in found], [classes.index(e.label) for e in found]
        return survey_of_pictures("image_folder", classes, splits, labels, [entry.file for entry in found])


@dataclass(frozen=True)
class _Names:
    """What the images are called: their paths in the folder, made when they are gone through."""

    files: list[Path]
    root: Path

    def __iter__(self) -> Iterator[str]:
        return (_printable(file.relative_to(self.root)) for file in self.files)


@dataclass(frozen=True)
class _Entry:
    file: Path
    label: str
    split: str


def _scan(root: Path) -> list[_Entry]:
    """List the images in a fixed order; refuse links out of the root, empty class folders, an empty root."""
    if not root.is_dir():
        what = "The path is a file" if root.is_file() else "The folder is missing"
        raise DataError(what, where=str(root), expected=LAYOUT, fix="correct path in params.yaml")
    folders = _class_folders(root)
    entries = []
    for split, folder in folders:
        files = sorted(_files_below(folder, root))
        if not files:
            raise DataError(
                f"The class folder {folder.name!r} holds no images", where=str(folder),
                expected=f"files ending in {', '.join(EXTENSIONS)}", fix="add images, or remove the folder",
            )  # fmt: skip
        entries += [_Entry(file, unicodedata.normalize("NFC", folder.name), split) for file in files]
    if not entries:
        raise DataError("The folder holds no class folders", where=str(root), expected=LAYOUT, fix="add images")
    return entries


def _class_folders(root: Path) -> list[tuple[str, Path]]:
    top = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if {"train", "test"} <= {path.name for path in top} and all(path.name in SPLIT_FOLDERS for path in top):
        return [
            (SPLIT_FOLDERS[part.name], folder)
            for part in top
            for folder in sorted(part.iterdir())
            if folder.is_dir() and not folder.name.startswith(".")
        ]
    return [("", folder) for folder in top]


def _files_below(folder: Path, root: Path) -> list[Path]:
    """Return the images below a class folder; links to files inside the root are followed, no others."""
    if folder.is_symlink():
        raise _link(folder, root)
    files = []
    for path in folder.iterdir():
        if path.is_symlink() and (path.is_dir() or not _stays_inside(path, root)):
            raise _link(path, root)
        if path.is_dir():
            files += _files_below(path, root)
        elif path.suffix.lower() in EXTENSIONS and path.is_file():
            files.append(path)
    return files


def _stays_inside(path: Path, root: Path) -> bool:
    try:
        return path.resolve(strict=True).is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a dangling link, or a loop of links
        return False


def _link(path: Path, root: Path) -> DataError:
    return DataError(
        "A link leads out of the data folder, or to a folder", where=str(path), expected=f"files inside {root}",
        fix="replace the link by the files themselves",
    )  # fmt: skip


def _class_names(found: list[_Entry], root: Path) -> list[str]:
    """Return the sorted names; raise for two that a person, or another file system, can't tell apart."""
    folders = {entry.file.relative_to(root).parts[1 if entry.split else 0] for entry in found}
    seen: dict[str, str] = {}
    for name in sorted(folders):
        alike = unicodedata.normalize("NFKC", name).casefold()
        if alike in seen:
            raise DataError(
                f"Two class folders differ only in case or Unicode form: {seen[alike]!r} ({seen[alike]!a}) and "
                f"{name!r} ({name!a})", where=str(root), fix="merge or rename them",
            )  # fmt: skip
        seen[alike] = name
    return sorted({entry.label for entry in found})


def _printable(path: Path) -> str:
    """Return a path with bytes that aren't UTF-8 written out, so that it can be stored as text."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def _ignored(root: Path) -> dict[str, int]:
    """Count the files that were passed over, by extension; what an origin tells of the folder isn't the data's."""
    counts: dict[str, int] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix.lower() not in EXTENSIONS and path != root / TOLD:
            counts[path.suffix.lower() or "(none)"] = counts.get(path.suffix.lower() or "(none)", 0) + 1
    return counts
