"""Plain numbers in place of pictures: CSV, TSV, Parquet or .npz, a row for each vector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from graftwork.annotations import classes_of, require_distinct, splits_of
from graftwork.errors import DataError, listed
from graftwork.images import RawImages
from graftwork.number_tables import NumberTable, read_arrays, read_parquet, read_text
from graftwork.settings import ImageFormat
from graftwork.survey import Survey, survey_of
from graftwork.vectors import require_vector_format
from graftwork_plugins.npz_files import read_archive

SUFFIXES = (".csv", ".tsv", ".parquet", ".npz")
Column = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True)
class Vectors:
    """A table of numbers with a column of labels; `image` is {size: 1, channels: the number of features}.

    `label_column` null: the column `label`, or else the last; `split_column` null: `split`, if there is one. `header`
    null: looked for in the first row. An .npz holds vectors and labels, or x_train, y_train, x_test, y_test.
    """

    label_column: Column | None = None
    split_column: Column | None = None
    header: bool | None = None

    def load(self, path: Path, image: ImageFormat) -> RawImages:
        """Read the table. Raises DataError for what isn't finite numbers with labels, by row and column."""
        raw = self._load(path)
        require_vector_format(raw.images.shape[1], image, str(path))
        return raw

    def survey(self, path: Path) -> Survey:
        """Read it all: its features can't be told otherwise."""
        return survey_of("vectors", self._load(path), path)

    def _load(self, path: Path) -> RawImages:
        table, where = self._read(path), str(path)
        if not table.values.size:
            raise DataError("There are no numbers", where=where, fix="is it the right file?")
        if table.classes:
            require_distinct(table.classes, where)
            number = {name: index for index, name in enumerate(table.classes)}
            labels, classes = np.array([number[label] for label in table.labels], dtype=np.int64), table.classes
        else:
            labels, classes = classes_of(table.labels, table.rows, where)
        split = splits_of(table.splits, table.rows, where) if table.splits is not None else None
        origin = {"file": path.name, "rows": len(labels), "features": list(table.features)}
        return RawImages(_as_images(table, where), labels, classes, split, origin)

    def _read(self, path: Path) -> NumberTable:
        suffix = path.suffix.lower()
        if suffix not in SUFFIXES or not path.is_file():
            raise DataError(
                "The table is missing" if suffix in SUFFIXES else f"No vectors are read from {path.name!r}",
                where=str(path), expected=f"a file ending in {', '.join(SUFFIXES)}", fix="correct path in params.yaml",
            )  # fmt: skip
        if suffix == ".npz":
            return read_arrays(read_archive(path), path)
        if suffix == ".parquet":
            return read_parquet(path, self.label_column, self.split_column)
        return read_text(path, self.label_column, self.split_column, self.header)


def _as_images(table: NumberTable, where: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Return the values as images of one pixel, float32; zero has no sign, so that equal rows have equal bytes."""
    with np.errstate(over="ignore"):
        values = table.values.astype(np.float32) + np.float32(0)
    huge = [f"row {table.rows[r]}, column {table.features[c]!r}" for r, c in np.argwhere(~np.isfinite(values))]
    if huge:
        raise DataError(
            f"{len(huge)} numbers are too large for float32: {listed(huge, 5)}", where=where,
            expected="at most 3.4e38", fix="scale the column",
        )  # fmt: skip
    return values[:, :, None, None]
