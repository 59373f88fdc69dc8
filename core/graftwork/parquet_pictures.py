"""Pictures that a Parquet file holds, read when they are asked for: some hundred at most are in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import Any

from graftwork.errors import DataError
from graftwork.parquet_files import open_parquet

AT_ONCE = 32  # rows that are read together
KEPT = 8  # times as many stay, as threads ask for rows nearly in order


@dataclass(frozen=True, slots=True)
class Part:
    """Rows that were read together: the number of the first, counted from 0, and their cells."""

    first: int
    cells: list[Any]

    @property
    def end(self) -> int:
        """The number of the row after the last."""
        return self.first + len(self.cells)


class ParquetPictures:
    """The pictures in a column of one file, by row from 0; several threads may ask for them.

    Quick where they ask nearly in order: what lies far back is read again from the beginning of its row group.
    """

    def __init__(self, path: Path, column: str, group_rows: Sequence[int]) -> None:
        self._path, self._column = path, column
        self._starts = [0, *accumulate(group_rows)][:-1]  # the first row of each row group
        self._lock, self._kept = Lock(), deque[Part](maxlen=KEPT)
        self._parts: Iterator[Part] = iter(())
        self._next = -1  # the row that `_parts` goes on with

    def __getitem__(self, row: int) -> bytes:
        with self._lock:
            part = next((part for part in self._kept if part.first <= row < part.end), None) or self._read_to(row)
        found = picture_of(part.cells[row - part.first])
        if not isinstance(found, bytes):
            raise self._changed()
        return found

    def _read_to(self, row: int) -> Part:
        """Read on until the row comes; from the beginning of its row group where that is nearer, or it lies back."""
        group = bisect_right(self._starts, row) - 1
        if not self._starts[group] <= self._next <= row:
            self._parts = self._from(group)
        for part in self._parts:
            self._kept.append(part)
            self._next = part.end
            if row < part.end:
                return part
        raise self._changed()

    def _from(self, group: int) -> Iterator[Part]:
        """Yield the cells of a row group and of all after it."""
        first, groups = self._starts[group], list(range(group, len(self._starts)))
        with open_parquet(self._path) as opened:
            for batch in opened.iter_batches(AT_ONCE, row_groups=groups, columns=[self._column]):
                part = Part(first, batch.column(0).to_pylist())
                yield part
                first = part.end

    def _changed(self) -> DataError:
        return DataError("The Parquet file changed while it was read", where=str(self._path), fix="run again")


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture in a Parquet file."""

    pictures: ParquetPictures
    row: int

    def read(self) -> bytes:
        """Return its bytes."""
        return self.pictures[self.row]


def picture_of(cell: Any) -> str | bytes | None:
    """Return what a cell holds: bytes, or a path; of Hugging Face's pair the bytes, if there are any."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    return cell if isinstance(cell, str | bytes) else None
