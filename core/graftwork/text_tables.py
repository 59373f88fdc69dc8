"""Read CSV and TSV files, every cell as the text that stands there."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from graftwork.annotations import refuse_rows
from graftwork.errors import DataError, did_you_mean, listed

DELIMITERS = {".csv": ",", ".tsv": "\t"}
NAMES = {",": "commas", "\t": "tabs"}


@dataclass(frozen=True)
class TextTable:
    """A table's cells; `numbers` are the rows' in the file, as a spreadsheet counts them: the first is 1."""

    path: Path
    columns: tuple[str, ...]
    rows: list[list[str]]
    numbers: list[int]

    def column(self, name: str) -> list[str]:
        """Return a column's cells. Raises DataError where there is none of this name."""
        require_column(name, self.columns, self.path)
        place = self.columns.index(name)
        return [row[place] for row in self.rows]


def require_column(name: str, columns: Sequence[str], path: Path) -> None:
    """Raise DataError unless the table has exactly one column of this name."""
    if columns.count(name) != 1:
        raise DataError(
            f"The table has {columns.count(name) or 'no'} column{'s' * (name in columns)} {name!r}", where=str(path),
            expected=f"one column of this name; there are {listed(map(repr, columns))}",
            fix=did_you_mean(name, columns) or "rename the column, or name yours in the dataset's settings",
        )  # fmt: skip


def read_table(path: Path) -> TextTable:
    """Read a file whose first row names its columns. Raises DataError for rows that are shorter or longer."""
    (_, first), *kept = table_rows(path)
    columns = tuple(name.strip() for name in first)
    wrong = [f"{number} ({len(row)})" for number, row in kept if len(row) != len(columns)]
    refuse_widths(path, wrong, Counter(len(row) for _, row in kept), len(columns))
    require_rows(path, kept)
    return TextTable(path, columns, [row for _, row in kept], [number for number, _ in kept])


def require_rows(path: Path, rows: Sequence[object]) -> None:
    """Raise DataError for a table that is a header alone."""
    if not rows:
        raise DataError("The table has a header and no rows", where=str(path), fix="is it the right file?")


def refuse_widths(path: Path, wrong: Sequence[str], widths: Counter[int], width: int) -> None:
    """Raise DataError for `wrong` rows, each told as `number (cells)`; `widths` counts the rows of each."""
    usual = widths.most_common(1)[0][0] if widths else width
    fix = f"quote cells that hold {NAMES[DELIMITERS[path.suffix.lower()]]}, and fill in what is missing"
    refuse_rows(wrong, f"other than {width} cells{f' (most have {usual})' * (usual != width)}", str(path), fix)


def table_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that aren't empty, each after its number in the file, as they are read.

    The delimiter is the extension's. A byte-order mark is passed over; anything but UTF-8 is refused.
    """
    empty = True
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for number, row in enumerate(csv.reader(file, delimiter=DELIMITERS[path.suffix.lower()], strict=True), 1):
                if any(cell.strip() for cell in row):
                    empty = False
                    yield number, row
    except OSError as error:
        raise DataError(
            f"The table can't be read: {error.strerror}", where=str(path), fix="correct path in params.yaml"
        ) from None
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except csv.Error as error:
        raise DataError(f"The table can't be read: {error}", where=str(path), fix="mend its quotation marks") from None
    if empty:
        raise DataError("The table is empty", where=str(path), fix="is it the right file?")


def _not_utf8(path: Path) -> DataError:
    """Return the error that tells the first wrong byte, which is looked for line by line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return DataError(
                    f"The table isn't UTF-8: byte {line[error.start]:#04x} in line {number}", where=str(path),
                    expected="UTF-8, with or without a byte-order mark",
                    fix=f"iconv -f WINDOWS-1252 -t UTF-8 {path.name}, or whatever its encoding is",
                )  # fmt: skip
    return DataError("The table changed while it was read", where=str(path), fix="run again")
