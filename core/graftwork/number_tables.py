"""Read tables of numbers, a label in each row: CSV, TSV, Parquet, and .npz archives."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.annotations import named, require_listed, texts_of
from graftwork.errors import DataError, listed
from graftwork.parquet_files import as_text, class_names, open_parquet, require_single
from graftwork.text_tables import refuse_widths, require_column, require_rows, table_rows

ARRAYS = "vectors and labels, or x_train, y_train, x_test, y_test; optionally split, classes"
Values = NDArray[np.float64]


@dataclass(frozen=True)
class NumberTable:
    """Values (rows, features), and each row's label and split as they are written."""

    features: tuple[str, ...]
    values: Values
    labels: Sequence[str]
    splits: Sequence[str] | None
    rows: Sequence[int]  # their numbers in the file; of an archive counted from 0
    classes: tuple[str, ...] | None = None  # where the file lists them; labels are then among them


def read_text(path: Path, label: str | None, split: str | None, header: bool | None) -> NumberTable:
    """Read CSV or TSV; without a header, columns are called 1, 2, … and the label is in the last.

    Raises DataError for a cell that isn't a number, with its row and column.
    """
    rows = table_rows(path)
    first = next(rows)
    if header or (header is None and (label or split or _has_header(path, first[1]))):
        columns = tuple(name.strip() for name in first[1])
    else:
        columns, rows = tuple(str(index + 1) for index in range(len(first[1]))), chain([first], rows)
    label, split = _roles(columns, label, split, path)
    return _read_cells(path, columns, label, split, rows)


def _read_cells(
    path: Path, columns: tuple[str, ...], label: str, split: str | None, rows: Iterable[tuple[int, list[str]]]
) -> NumberTable:
    """Take each row as it is read: of its text, no more is kept than label and split."""
    features = tuple(name for name in columns if name not in (label, split))
    places = [columns.index(name) for name in features]
    values, widths = array("d"), Counter[int]()
    wide: list[str] = []
    wrong: list[str] = []
    kept: list[tuple[int, str, str]] = []
    for number, row in rows:
        widths[len(row)] += 1
        if len(row) != len(columns):
            wide.append(f"{number} ({len(row)})")
            continue
        found = [_number(row[place]) for place in places]
        if not all(map(isfinite, found)):
            texts = ((name, row[place]) for name, place in zip(features, places, strict=True))
            wrong += [_cell(number, *text) for text, value in zip(texts, found, strict=True) if not isfinite(value)]
        values.extend(found)
        kept.append((number, row[columns.index(label)], row[columns.index(split)] if split else ""))
    refuse_widths(path, wide, widths, len(columns))
    require_rows(path, kept)
    _refuse(wrong, path)
    numbers, labels, splits = (list(column) for column in zip(*kept, strict=True))
    table = np.frombuffer(values, dtype=np.float64) if values else np.empty(0)
    return NumberTable(features, table.reshape(len(kept), len(features)), labels, splits if split else None, numbers)


def _cell(number: int, column: str, text: str) -> str:
    return f"row {number}, column {column!r} holds {text[:40]!r}"


def read_parquet(path: Path, label: str | None, split: str | None) -> NumberTable:
    """Read Parquet: every column but the label's and the split's must hold numbers."""
    with open_parquet(path) as opened:
        table = opened.read()
        label, split = _roles(tuple(table.column_names), label, split, path)
        for name in filter(None, (label, split)):
            require_single(opened, name, path)
        features = tuple(name for name in table.column_names if name not in (label, split))
        columns = [_parquet_column(name, table.column(name), path) for name in features]
        values = np.stack(columns, axis=1) if columns else np.empty((table.num_rows, 0))
        labels = [as_text(value) for value in table.column(label).to_pylist()]
        splits = [as_text(value) for value in table.column(split).to_pylist()] if split else None
        classes = class_names(opened, label)
    rows = range(1, len(labels) + 1)
    wrong = [f"row {r + 1}, column {features[c]!r} holds {values[r, c]}" for r, c in np.argwhere(~np.isfinite(values))]
    _refuse(wrong, path)
    return NumberTable(features, values, named(labels, classes, rows, path), splits, rows, classes)


def read_arrays(arrays: Mapping[str, NDArray[Any]], path: Path) -> NumberTable:
    """Take the arrays of an archive: vectors (N, features) of any real type, labels (N,) numbers or texts."""
    splits: Sequence[str] | None = None
    if {"vectors", "labels"} <= arrays.keys():
        values, labels = arrays["vectors"], arrays["labels"]
        splits = texts_of(arrays["split"], "split", str(path)) if "split" in arrays else None
    elif {"x_train", "y_train", "x_test", "y_test"} <= arrays.keys():
        values, labels = (_joined(arrays, letter, path) for letter in "xy")
        splits = [name for name in ("train", "test") for _ in range(len(arrays[f"x_{name}"]))]
    else:
        raise DataError(f"The archive holds {listed(arrays)}", where=str(path), expected=ARRAYS, fix="rename them")
    _require_shapes(values, labels, splits, path)
    wrong = [f"row {r}, feature {c} is {values[r, c]}" for r, c in np.argwhere(~np.isfinite(values))]
    _refuse(wrong, path)
    classes, rows = _listed_classes(arrays, path), range(len(labels))
    texts = [as_text(label) for label in labels.tolist()]
    if labels.dtype.kind in "iu":
        texts = named(texts, classes, rows, path)
    elif classes:
        require_listed(texts, classes, rows, str(path))
    features = tuple(str(index + 1) for index in range(values.shape[1]))
    return NumberTable(features, values.astype(np.float64), texts, splits, rows, classes)


def _has_header(path: Path, first: list[str]) -> bool:
    """Tell whether the first row names columns. Raises DataError where that can't be told.

    It does where none of its cells is a number, and does not where all but a label and a split are; names such as
    0, 1, 2 could be either.
    """
    numeric = [not np.isnan(_number(cell)) for cell in first]
    counted = [cell.strip() for cell, number in zip(first, numeric, strict=True) if number]
    if not counted:
        return True
    if len(counted) >= len(first) - 2 and counted not in _counts(len(counted)):
        return False
    raise DataError(
        f"It can't be told whether row 1 names the columns: {listed(map(repr, first), 8)}", where=str(path),
        fix="say so: dataset: {vectors: {header: true}}, or false",
    )  # fmt: skip


def _counts(length: int) -> list[list[str]]:
    return [[str(first + index) for index in range(length)] for first in (0, 1)]


def _roles(columns: Sequence[str], label: str | None, split: str | None, path: Path) -> tuple[str, str | None]:
    """Return the columns of labels and splits: the settings', else `label` or the last one, and `split` if any."""
    split = split or ("split" if "split" in columns else None)
    if split:
        require_column(split, columns, path)
    others = [name for name in columns if name != split]
    label = label or ("label" if "label" in others or not others else others[-1])
    require_column(label, columns, path)
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated or label == split:
        raise DataError(
            f"Two columns have the same name, or one has two uses: {listed(map(repr, repeated or [label]))}",
            where=str(path), fix="rename one of them",
        )  # fmt: skip
    return label, split


def _number(cell: str) -> float:
    """Return a cell's number, NaN for what is none; `1_000` is Python's spelling, not a table's."""
    try:
        return float("nan" if "_" in cell else cell)
    except ValueError:
        return float("nan")


def _refuse(wrong: Sequence[str], path: Path) -> None:
    if wrong:
        raise DataError(
            f"{len(wrong)} cell{'s are' if len(wrong) > 1 else ' is'} no finite number: {listed(wrong, 5)}",
            where=str(path), fix="fill in or remove these rows; encode categories as numbers, or leave the column out",
        )  # fmt: skip


def _parquet_column(name: str, column: Any, path: Path) -> Values:
    import pyarrow.types as types

    kind = column.type
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise DataError(
            f"The column {name!r} holds {kind}", where=str(path), expected="numbers in all but label and split",
            fix="encode it as numbers, or leave it out",
        )  # fmt: skip
    values: Values = np.array([np.nan if v is None else v for v in column.to_pylist()], dtype=np.float64)
    return values


def _listed_classes(arrays: Mapping[str, NDArray[Any]], path: Path) -> tuple[str, ...] | None:
    return tuple(texts_of(arrays["classes"], "classes", str(path))) if "classes" in arrays else None


def _joined(arrays: Mapping[str, NDArray[Any]], letter: str, path: Path) -> NDArray[Any]:
    train, test = arrays[f"{letter}_train"], arrays[f"{letter}_test"]
    fine = all(array.ndim and array.dtype.kind in "fiubU" for array in (train, test))
    if not fine or train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{letter}_train is {train.dtype} of shape {train.shape} and {letter}_test {test.dtype} of {test.shape}",
            where=str(path), expected="arrays of numbers, or of texts for labels, of one shape but for their length",
            fix="convert them",
        )  # fmt: skip
    return np.concatenate([train, test])


def _require_shapes(
    values: NDArray[Any], labels: NDArray[Any], splits: Sequence[str] | None, path: Path
) -> None:  # fmt: skip
    fine = values.ndim == 2 and values.dtype.kind in "fiub" and labels.ndim == 1 and labels.dtype.kind in "iuU"
    if not fine or len({len(values), len(labels), len(labels if splits is None else splits)}) != 1:
        raise DataError(
            f"The vectors are {values.dtype} of shape {values.shape}, labels {labels.dtype} of shape {labels.shape}",
            where=str(path), expected="vectors (N, features) of numbers; labels, and split if any, (N,) each",
            fix="convert them",
        )  # fmt: skip
