"""Pictures that a table lists, with their labels: CSV, TSV or Parquet, or Parquet that holds the pictures itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from graftwork.annotations import classes_of, refuse_rows, require_distinct, splits_of
from graftwork.decoding import require_picture_format
from graftwork.encoded_images import EncodedImages
from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.inspection import inspect
from graftwork.parquet_pictures import Embedded, PictureReader
from graftwork.picture_tables import Columns, PictureTable, Row, picture_tables, table_alone
from graftwork.progress import QUIET, Progress
from graftwork.settings import ImageFormat
from graftwork.survey import Survey, survey_of_pictures

Column = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Table:
    """A table of pictures: a column of paths or of bytes, one of labels, and one of splits if there is one.

    The data's path is the folder that holds all; or one .parquet file with the pictures' bytes in it. `file` names the
    table in the folder; null: its files train-*, test-* and so on, or its only table. Paths are relative to the folder,
    or to `root` in it, and never lead out of it. `split_column` null: the column `split`, if there is one. Pictures
    that can't be read end the run, or are skipped and listed.
    """

    file: str | None = None
    path_column: Column = "path"
    label_column: Column = "label"
    split_column: Column | None = None
    root: str = "."
    unreadable: Literal["fail", "skip"] = "fail"

    def load(self, path: Path, image: ImageFormat, progress: Progress = QUIET) -> RawImages:
        """Return the pictures, still encoded; each was decoded once, to see that it can be.

        Raises DataError for what a table of pictures can't be.
        """
        require_picture_format(image, str(path))
        found, names = self._find(path)
        inspected = inspect(lambda number: _read(found[number].source), len(found), image, progress)
        faults = inspected.faults
        failures = [f"{entry.row.place}: {fault}" for entry, fault in zip(found, faults, strict=True) if fault]
        if failures and (self.unreadable == "fail" or len(failures) == len(found)):
            raise DataError(
                f"{len(failures)} of {len(found)} pictures can't be read: row {listed(failures, 5)}", where=str(path),
                expected="paths inside the folder, or bytes, of pictures",
                fix="mend or remove these rows, or set dataset: {table: {unreadable: skip}}",
            )  # fmt: skip
        good = [entry for entry, fault in zip(found, faults, strict=True) if not fault]
        labels, classes = _labels([entry.row for entry in good], names, path)
        sources = _Pictures([entry.source for entry in good if not isinstance(entry.source, str)])
        told = {"skipped": failures, "remarks": inspected.remarks}
        origin = {"file": self.file or path.name, "rows": len(found), **told}
        names_of_rows = _Names([entry.row for entry in good])
        return RawImages(EncodedImages(sources, image), labels, classes, _splits(good, path), origin, names_of_rows)

    def survey(self, path: Path) -> Survey:
        """Count all pictures, and look at the headers of some."""
        found, names = self._find(path)
        labels, classes = _labels([entry.row for entry in found], names, path)
        split = _splits(found, path)
        splits = [""] * len(found) if split is None else split.tolist()
        sources = _Pictures([entry.source for entry in found if not isinstance(entry.source, str)])
        return survey_of_pictures("table", classes, splits, labels.tolist(), sources)

    def _find(self, path: Path) -> tuple[list[_Entry], tuple[str, ...] | None]:
        """Return the rows with their files or bytes, and the classes' names where the files list them."""
        columns = Columns(self.path_column, self.label_column, self.split_column)
        tables = picture_tables(path, self.file)
        root = self._root(path)
        names, inside = _common_names(tables, columns, path), root.resolve()
        reader = PictureReader()
        rows = (row for table in tables for part in table.rows(columns, reader) for row in part)
        found = [_entry(row, root, inside) for row in rows]
        if path.is_file() and any(entry.row.picture for entry in found):
            raise table_alone(path)
        outside = [f"{e.row.place} ({e.source})" for e in found if isinstance(e.source, _Outside)]
        refuse_rows(outside, f"a path out of {root}", str(path), "write paths inside it, or set root")
        _require_one_label_each(found, path)
        return found, names

    def _root(self, path: Path) -> Path:
        """Return the folder that paths are relative to. Raises DataError for one outside the data's."""
        root = path / self.root
        if not root.resolve().is_relative_to(path.resolve()):
            raise DataError(
                f"root: {self.root!r} leads out of the folder", where=str(path), expected="a folder in it",
                fix="name as path the folder that holds both the table and its pictures",
            )  # fmt: skip
        return root


@dataclass(frozen=True)
class _Names:
    """What the pictures are called: the path that their row names, or the row."""

    rows: Sequence[Row]

    def __iter__(self) -> Iterator[str]:
        return (row.picture if isinstance(row.picture, str) else f"row {row.place}" for row in self.rows)


@dataclass(frozen=True)
class _Pictures:
    """Pictures whose bytes are read when they are asked for."""

    places: Sequence[Path | Embedded]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, number: int) -> Path | bytes:
        place = self.places[number]
        return place.read() if isinstance(place, Embedded) else place


class _Outside(str):
    """A path that leads out of the folder: never skipped."""


@dataclass(frozen=True)
class _Entry:
    row: Row
    source: Path | Embedded | str  # the file, where its bytes are, or why there is neither


def _entry(row: Row, root: Path, inside: Path) -> _Entry:
    if not row.picture:
        return _Entry(row, "no picture")
    if isinstance(row.picture, Embedded):
        return _Entry(replace(row, picture=None), row.picture)
    return _Entry(row, _file(row.picture, root, inside))


def _read(source: Path | Embedded | str) -> Path | bytes | str:
    return source.read() if isinstance(source, Embedded) else source


def _splits(found: Sequence[_Entry], path: Path) -> NDArray[np.str_] | None:
    if not any(entry.row.split for entry in found):
        return None
    return splits_of([entry.row.split for entry in found], [entry.row.place for entry in found], str(path))


def _file(written: str, root: Path, inside: Path) -> Path | str:
    """Return the file that a table names, or why it isn't to be opened."""
    path = Path(written)
    if path.is_absolute() or ".." in path.parts:
        return _Outside(repr(written))
    try:
        found = (root / path).resolve(strict=True)
    except (OSError, ValueError, RuntimeError):  # missing, a NUL in it, a loop of links
        return f"{written!r} is missing"
    if not found.is_relative_to(inside):
        return _Outside(f"{written!r} is a link")
    return found if found.is_file() else f"{written!r} is no file"


def _common_names(tables: Sequence[PictureTable], columns: Columns, path: Path) -> tuple[str, ...] | None:
    """Return the classes' names that the files list; None where they list none."""
    found = {table.classes(columns) for table in tables}
    if len(found) > 1:
        raise DataError("The files list different classes", where=str(path), fix="take files of one data set")
    (names,) = found
    if names:
        require_distinct(names, str(path))
    return names


def _labels(
    rows: Sequence[Row], names: tuple[str, ...] | None, path: Path
) -> tuple[NDArray[np.int64], tuple[str, ...]]:  # fmt: skip
    if names is None:
        return classes_of([row.label for row in rows], [row.place for row in rows], str(path))
    number = {name: index for index, name in enumerate(names)}
    return np.array([number[row.label] for row in rows], dtype=np.int64), names


def _require_one_label_each(found: Sequence[_Entry], path: Path) -> None:
    """Raise DataError for a file that stands in the table with two labels, however its path is written."""
    seen: dict[Path, Row] = {}
    for entry in found:
        if isinstance(entry.source, Path):
            row, other = entry.row, seen.setdefault(entry.source, entry.row)
            if other.label != row.label:
                again = "" if other.picture == row.picture else f", as {row.picture!r}"
                raise DataError(
                    f"{other.picture!r} has two labels: {other.label!r} in row {other.place}, {row.label!r} in row "
                    f"{row.place}{again}", where=str(path), fix="leave one of them",
                )  # fmt: skip
