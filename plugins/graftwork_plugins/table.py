"""Pictures that a table lists, with their labels: CSV, TSV or Parquet, or Parquet that holds the pictures itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from graftwork.annotations import classes_of, refuse_rows, require_distinct, splits_of
from graftwork.decoding import decode, quietly, require_picture_format
from graftwork.errors import DataError, listed
from graftwork.images import Pixels, RawImages
from graftwork.picture_tables import Columns, PictureTable, Row, picture_tables
from graftwork.settings import ImageFormat

Column = Annotated[str, Field(min_length=1)]
Read = tuple[Row, Pixels | str]


@dataclass(frozen=True)
class Table:
    """A table of pictures: a column of paths or of bytes, one of labels, and one of splits if there is one.

    Paths are relative to the table's folder, or to `root` in it, and never lead out of it. `split_column` null: the
    column `split`, if there is one. Pictures that can't be read end the run, or are skipped and listed.
    """

    path_column: Column = "path"
    label_column: Column = "label"
    split_column: Column | None = None
    root: str = "."
    unreadable: Literal["fail", "skip"] = "fail"

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Decode every picture to the format. Raises DataError for what a table of pictures can't be."""
        require_picture_format(image, str(path))
        columns = Columns(self.path_column, self.label_column, self.split_column)
        tables = picture_tables(path)
        root = (path if path.is_dir() else path.parent) / self.root
        names = _common_names(tables, columns, path)
        read = list(_decoded(tables, columns, root, image))
        _require_one_label_each(read, path)
        outside = [f"{row.place} ({found})" for row, found in read if isinstance(found, _Outside)]
        refuse_rows(outside, f"a path out of {root}", str(path), "write paths inside it, or set root")
        failures = [f"{row.place}: {found}" for row, found in read if isinstance(found, str)]
        if failures and (self.unreadable == "fail" or len(failures) == len(read)):
            raise DataError(
                f"{len(failures)} of {len(read)} pictures can't be read: row {listed(failures, 5)}", where=str(path),
                expected=f"paths inside {root}, or bytes, of pictures",
                fix="mend or remove these rows, or set dataset: {table: {unreadable: skip}}",
            )  # fmt: skip
        rows, pixels = zip(*((row, found) for row, found in read if not isinstance(found, str)), strict=True)
        labels, classes = _labels(rows, names, path)
        split = None
        if any(row.split for row in rows):
            split = splits_of([row.split for row in rows], [row.place for row in rows], str(path))
        origin = {"file": path.name, "rows": len(read), "skipped": failures}
        return RawImages(np.stack(pixels), labels, classes, split, origin)


def _decoded(tables: Sequence[PictureTable], columns: Columns, root: Path, image: ImageFormat) -> Iterator[Read]:
    """Yield each row, without its bytes, with its pixels, or with the reason why it has none."""
    inside = root.resolve()

    def look(row: Row) -> Pixels | str:
        if row.picture is None or not row.picture:
            return "no picture"
        source = row.picture if isinstance(row.picture, bytes) else _file(row.picture, root, inside)
        return source if isinstance(source, str) else decode(source, image)

    with quietly(), ThreadPoolExecutor() as pool:
        for table in tables:
            for rows in table.rows(columns):
                for row, found in zip(rows, pool.map(look, rows), strict=True):
                    yield (replace(row, picture=None) if isinstance(row.picture, bytes) else row), found


class _Outside(str):
    """A path that leads out of the folder: never skipped."""


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


def _require_one_label_each(read: Sequence[Read], path: Path) -> None:
    """Raise DataError for a file that stands in the table with two labels."""
    seen: dict[str, Row] = {}
    for row, _ in read:
        if isinstance(row.picture, str):
            other = seen.setdefault(row.picture, row)
            if other.label != row.label:
                raise DataError(
                    f"{row.picture!r} has two labels: {other.label!r} in row {other.place}, {row.label!r} in row "
                    f"{row.place}", where=str(path), fix="leave one of them",
                )  # fmt: skip
