"""Pictures that a Parquet file holds, read when they are asked for: some hundred at most are in memory.

And as much as pyarrow reads in one go: a page, which for pictures may be a whole row group.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any, NoReturn

from graftwork.errors import DataError
from graftwork.parquet_files import open_parquet

AT_ONCE = 32  # rows that are read together
KEPT = 8  # times as many stay, as threads ask for rows nearly in order


@dataclass(frozen=True)
class PictureColumn:
    """A column of pictures in a file, and how many rows each of its row groups has."""

    file: Path
    name: str
    group_rows: tuple[int, ...]

    @cached_property
    def starts(self) -> list[int]:
        """Return the first row of each row group, counted from 0."""
        return [0, *accumulate(self.group_rows)][:-1]

    def parts(self, group: int) -> Iterator[Part]:
        """Yield the cells of a row group and of all after it, some at a time."""
        first, groups = self.starts[group], list(range(group, len(self.starts)))
        with open_parquet(self.file) as opened:
            for batch in opened.iter_batches(AT_ONCE, row_groups=groups, columns=[self.name]):
                part = Part(self, first, batch.column(0).to_pylist())
                yield part
                first = part.end


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that were read together, from the row `first` on."""

    column: PictureColumn
    first: int
    cells: list[Any]

    @property
    def end(self) -> int:
        """The number of the row after the last."""
        return self.first + len(self.cells)

    def holds(self, column: PictureColumn, row: int) -> bool:
        """Tell whether a row is among them."""
        return column is self.column and self.first <= row < self.end


class PictureReader:
    """Reads pictures of one file after the other, for several threads at a time.

    Quick where they ask nearly in order: what lies far back is read again from the beginning of its row group.
    """

    def __init__(self) -> None:
        self._lock, self._kept = Lock(), deque[Part](maxlen=KEPT)
        self._column: PictureColumn | None = None
        self._parts: Iterator[Part] = iter(())
        self._next = 0  # the row of the column that `_parts` goes on with

    def read(self, column: PictureColumn, row: int) -> bytes:
        """Return a picture's bytes. Raises DataError for a file that can't be read any more."""
        with self._lock:
            part = next((part for part in self._kept if part.holds(column, row)), None) or self._read_to(column, row)
        found = picture_of(part.cells[row - part.first])
        return found if isinstance(found, bytes) else _changed(column)

    def _read_to(self, column: PictureColumn, row: int) -> Part:
        """Read on until the row comes; from the beginning of its row group where that is nearer, or it lies back."""
        group = bisect_right(column.starts, row) - 1
        if column is not self._column or not column.starts[group] <= self._next <= row:
            self._column, self._parts = column, column.parts(group)
        for part in self._parts:
            self._kept.append(part)
            self._next = part.end
            if part.holds(column, row):
                return part
        return _changed(column)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture in a Parquet file."""

    reader: PictureReader
    column: PictureColumn
    row: int  # counted from 0

    def read(self) -> bytes:
        """Return its bytes."""
        return self.reader.read(self.column, self.row)


def _changed(column: PictureColumn) -> NoReturn:
    raise DataError("The Parquet file changed while it was read", where=str(column.file), fix="run again")


def picture_of(cell: Any) -> str | bytes | None:
    """Return what a cell holds: bytes, or a path; of Hugging Face's pair the bytes, if there are any."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    return cell if isinstance(cell, str | bytes) else None
