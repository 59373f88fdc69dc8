"""Images in class folders: `root/<class>/*.jpg`, or `root/{train,validation,test}/<class>/*.jpg`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from graftwork.decoding import require_picture_format
from graftwork.encoded_images import EncodedImages
from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.inspection import inspect
from graftwork.names import printable
from graftwork.progress import QUIET, Progress
from graftwork.settings import ImageFormat
from graftwork.survey import Survey, survey_of_pictures
from graftwork_plugins.class_folders import LAYOUT, class_names, ignored, outside, scan


@dataclass(frozen=True)
class ImageFolder:
    """Class folders, with or without given splits. Unreadable images end the run, or are skipped and listed."""

    unreadable: Literal["fail", "skip"] = "fail"

    def load(self, path: Path, image: ImageFormat, progress: Progress = QUIET) -> RawImages:
        """Return the images, still encoded; each was decoded once, to see that it can be.

        Raises DataError for what a folder of images can't be.
        """
        require_picture_format(image, str(path))
        found = scan(path)
        classes = class_names(found, path)
        inspected = inspect(lambda number: found[number].file, len(found), image, progress)
        faults = inspected.faults
        failures = [
            f"{printable(e.file.relative_to(path))}: {fault}" for e, fault in zip(found, faults, strict=True) if fault
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
                "ignored_extensions": ignored(path),
                "remarks": inspected.remarks | outside(path),
            },
            names=_Names(files, path),
        )

    def survey(self, path: Path) -> Survey:
        """Count all images, and look at the headers of some."""
        found = scan(path)
        classes = class_names(found, path)
        splits, labels = [e.split for e in found], [classes.index(e.label) for e in found]
        return survey_of_pictures("image_folder", classes, splits, labels, [entry.file for entry in found])


@dataclass(frozen=True)
class _Names:
    """What the images are called: their paths in the folder, made when they are gone through."""

    files: list[Path]
    root: Path

    def __iter__(self) -> Iterator[str]:
        return (printable(file.relative_to(self.root)) for file in self.files)
