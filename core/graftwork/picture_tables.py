"""Read tables that name pictures, or hold their bytes: CSV, TSV and Parquet, one file or one for each split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.annotations import SPLIT_NAMES, named
from graftwork.errors import DataError, listed
from graftwork.parquet_files import as_text, class_names, holds_bytes, open_parquet, require_single
from graftwork.parquet_pictures import Embedded, PictureColumn, PictureReader, picture_of
from graftwork.text_tables import DELIMITERS, read_table, require_column

SUFFIXES = (*DELIMITERS, ".parquet")
LAYOUT = "a folder with one table, .csv, .tsv or .parquet, or with train-*.parquet, test-*.parquet and so on"
IN_FOLDER = re.compile(rf"({'|'.join(SPLIT_NAMES)})([-_.].*)?", re.IGNORECASE)
ROWS_AT_ONCE = 64  # of a Parquet file with pictures in it


@dataclass(frozen=True)
class Columns:
    """What the columns are called; `split` None: `split`, if there is such a column."""

    picture: str
    label: str
    split: str | None


@dataclass(frozen=True)
class Row:
    """One picture: its file or its place in this one, and what the table says of it."""

    place: str  # for people: `train-0.parquet 17`
    picture: str | Embedded | None  # a path as it is written, or where the bytes are
    label: str
    split: str  # as it is written; empty for none


@dataclass(frozen=True)
class PictureTable:
    """One file, and the split that its name tells, or an empty text."""

    path: Path
    split: str

    def classes(self, columns: Columns) -> tuple[str, ...] | None:
        """Return the classes' names where the file lists them and numbers its labels."""
        if self.path.suffix.lower() != ".parquet":
            return None
        with open_parquet(self.path) as opened:
            return class_names(opened, columns.label)

    def rows(self, columns: Columns, reader: PictureReader) -> Iterator[list[Row]]:
        """Yield the rows, some at a time; the reader will read the bytes of pictures that the file holds.

        Raises DataError for a file that can't be read, or lacks a column.
        """
        parquet = self.path.suffix.lower() == ".parquet"
        parts = self._of_parquet(columns, reader) if parquet else self._of_text(columns)
        for numbers, pictures, labels, splits in parts:
            if splits is None:
                splits = [self.split] * len(labels)
            elif self.split:
                self._require_own_split(numbers, splits)
            yield [
                Row(f"{self.path.name} {number}", picture, label, split)
                for number, picture, label, split in zip(numbers, pictures, labels, splits, strict=True)
            ]

    def _of_text(self, columns: Columns) -> Iterator[tuple[Sequence[int], list[Any], list[str], list[str] | None]]:
        table = read_table(self.path)
        split = _split_column(columns, table.columns)
        pictures, labels = table.column(columns.picture), table.column(columns.label)
        yield table.numbers, pictures, labels, table.column(split) if split else None

    def _of_parquet(
        self, columns: Columns, reader: PictureReader
    ) -> Iterator[tuple[Sequence[int], list[Any], list[str], list[str] | None]]:
        with open_parquet(self.path) as opened:
            names = opened.schema_arrow.names
            picture, split = self._picture_column(opened.schema_arrow, columns), _split_column(columns, names)
            for name in filter(None, (picture, columns.label, split)):
                require_column(name, names, self.path)
            for name in filter(None, (columns.label, split)):
                require_single(opened, name, self.path)
            classes, done = class_names(opened, columns.label), 0
            wanted = [name for name in (picture, columns.label, split) if name]
            sizes = tuple(opened.metadata.row_group(group).num_rows for group in range(opened.num_row_groups))
            column = PictureColumn(self.path, picture, sizes)
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=wanted):
                numbers = range(done + 1, done + 1 + len(batch))
                cells = {name: batch.column(name).to_pylist() for name in wanted}
                written = [as_text(label) for label in cells[columns.label]]
                labels = named(written, classes, numbers, self.path)
                splits = [as_text(text) for text in cells[split]] if split else None
                pictures = [_picture(cell, Embedded(reader, column, n)) for n, cell in enumerate(cells[picture], done)]
                yield numbers, pictures, labels, splits
                done += len(batch)

    def _picture_column(self, schema: Any, columns: Columns) -> str:
        """Return the column of the settings, or else the only one that holds bytes."""
        if columns.picture in schema.names:
            return columns.picture
        holding = [field.name for field in schema if holds_bytes(field.type)]
        return holding[0] if len(holding) == 1 else columns.picture

    def _require_own_split(self, numbers: Sequence[int], splits: list[str]) -> None:
        for number, split in zip(numbers, splits, strict=True):
            if SPLIT_NAMES.get(split.strip().casefold()) != self.split:
                raise DataError(
                    f"Row {number} is of the split {split!r}, by the file's name it is of {self.split}",
                    where=str(self.path), fix="rename the file, or correct the column",
                )  # fmt: skip


def picture_tables(path: Path, file: str | None) -> list[PictureTable]:
    """Return the folder's table called `file`; null: its files with their splits, or its only one.

    The path may also be one .parquet file, which can hold all its pictures. Raises DataError where there are none, and
    for a text table by itself: pictures that it names aren't part of the path, so their changes would go unnoticed.
    """
    if path.is_file() and path.suffix.lower() in DELIMITERS:
        raise table_alone(path)
    if path.is_file() and path.suffix.lower() in SUFFIXES and file is None:
        return [PictureTable(path, "")]
    if not path.is_dir():
        what = f"No table is read from a file ending in {path.suffix!r}" if path.exists() else "The table is missing"
        raise DataError(what, where=str(path), expected=LAYOUT, fix="correct path in params.yaml")
    return _of_folder(path) if file is None else [PictureTable(_inside(path, file), "")]


def table_alone(path: Path) -> DataError:
    """Return the error for a path that is a table of pictures which lie outside it."""
    return DataError(
        "The path is a table by itself, and the pictures that it names aren't part of it", where=str(path),
        expected="the folder that holds the table and its pictures, so that a change of either is noticed",
        fix=f"path: {path.parent}, dataset: {{table: {{file: {path.name}}}}}",
    )  # fmt: skip


def _of_folder(folder: Path) -> list[PictureTable]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
    matches = {file: IN_FOLDER.fullmatch(file.stem) for file in files}
    unknown = [file.name for file, match in matches.items() if match is None]
    if len(files) == len(unknown) == 1:
        return [PictureTable(files[0], "")]
    if unknown or not files:
        found = f"The folder's {listed(unknown, 5)} belong to no split" if unknown else "The folder holds no tables"
        fix = "name one: dataset: {table: {file: labels.csv}}, or rename them" if unknown else "correct path"
        raise DataError(found, where=str(folder), expected=LAYOUT, fix=fix)
    return [PictureTable(file, SPLIT_NAMES[match[1].lower()]) for file, match in matches.items() if match]


def _inside(folder: Path, file: str) -> Path:
    path = folder / file
    if not path.resolve().is_relative_to(folder.resolve()) or path.suffix.lower() not in SUFFIXES:
        raise DataError(
            f"The table {file!r} isn't one of the folder's", where=str(folder),
            expected=f"a file in it, ending in {', '.join(SUFFIXES)}", fix="correct file under dataset, or path",
        )  # fmt: skip
    if not path.is_file():
        raise DataError("The table is missing", where=str(path), expected=LAYOUT, fix="correct file under dataset")
    return path


def _split_column(columns: Columns, names: Sequence[str]) -> str | None:
    return columns.split or ("split" if "split" in names else None)


def _picture(cell: Any, place: Embedded) -> str | Embedded | None:
    """Return the path in a cell, or of bytes, which aren't kept, the place."""
    found = picture_of(cell)
    return (place if found else None) if isinstance(found, bytes) else found
