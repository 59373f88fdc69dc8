"""What a table says of each of its rows: the class and the split."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graftwork.errors import DataError, listed

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "val": "validation",
    "valid": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}


def classes_of(
    labels: Sequence[str], rows: Sequence[object], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:  # fmt: skip
    """Return each row's class as a number, and the classes' names: numbers in their order, other texts in theirs.

    A label is taken as it stands, in Unicode's composed form and without blanks at its ends: `no` is no boolean.
    `rows` names the rows in errors. Raises DataError for empty labels, and for two that people can't tell apart.
    """
    texts = [unicodedata.normalize("NFC", label.strip()) for label in labels]
    refuse_rows([row for row, text in zip(rows, texts, strict=True) if not text], "no label", where, "fill it in")
    classes = sorted(set(texts), key=_order(set(texts)))
    require_distinct(classes, where)
    number = {name: index for index, name in enumerate(classes)}
    return np.array([number[text] for text in texts], dtype=np.int64), tuple(classes)


def require_distinct(names: Iterable[str], where: str) -> None:
    """Raise DataError for two names that differ only in case, Unicode form or the way a number is written."""
    seen: dict[object, str] = {}
    for name in names:
        value = _number(name)
        alike = unicodedata.normalize("NFKC", name).casefold() if value is None else value
        if alike in seen:
            raise DataError(
                f"Two labels are hard to tell apart: {seen[alike]!r} ({seen[alike]!a}) and {name!r} ({name!a})",
                where=where, expected="names that differ in more than case or Unicode form",
                fix="write both alike, or rename one",
            )  # fmt: skip
        seen[alike] = name


def named(labels: list[str], classes: tuple[str, ...] | None, rows: Sequence[object], path: Path) -> list[str]:
    """Return the names that numbers stand for; the labels as they are where the file lists none."""
    if not classes:
        return labels
    for label, row in zip(labels, rows, strict=True):
        if not (label.isdecimal() and int(label) < len(classes)):
            raise DataError(
                f"Row {row} has the label {label or 'null'}, which the file gives no name", where=str(path),
                expected=f"0 to {len(classes) - 1}", fix="leave out rows without a label, or name every class",
            )  # fmt: skip
    return [classes[int(label)] for label in labels]


def require_listed(labels: Sequence[str], classes: tuple[str, ...], rows: Sequence[object], where: str) -> None:
    """Raise DataError for labels that aren't among the classes which the file lists."""
    known = set(classes)
    wrong = [f"{row} ({label!r})" for row, label in zip(rows, labels, strict=True) if label not in known]
    refuse_rows(wrong, "a label that isn't among the classes", where, "name every class, or correct the labels")


def texts_of(array: NDArray[Any], name: str, where: str) -> list[str]:
    """Return the names in an archive's array (N,): texts, bytes in UTF-8 or whole numbers. Raises DataError."""
    if array.ndim != 1 or array.dtype.kind not in "USiu":
        raise DataError(
            f"The array {name!r} is {array.dtype} of shape {array.shape}", where=where, expected="texts, (N,)",
            fix="convert it",
        )  # fmt: skip
    try:
        return [text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()]
    except UnicodeDecodeError as error:
        raise DataError(f"The array {name!r} isn't UTF-8: {error}", where=where, fix="convert it to texts") from None


def splits_of(texts: Sequence[str], rows: Sequence[object], where: str) -> NDArray[np.str_]:
    """Return each row's split as train, validation or test. Raises DataError for anything else."""
    names = [text.strip().casefold() for text in texts]
    wrong = [f"{row} ({text!r})" for row, text, name in zip(rows, texts, names, strict=True) if name not in SPLIT_NAMES]
    expected = ", ".join(SPLIT_NAMES)
    refuse_rows(wrong, "no known split", where, f"name one of {expected}, or leave the column out")
    return np.array([SPLIT_NAMES[name] for name in names])


def refuse_rows(rows: Sequence[object], what: str, where: str, fix: str) -> None:
    """Raise DataError naming the rows that have `what`, if there are any."""
    if rows:
        count = f"{len(rows):,} rows have" if len(rows) > 1 else "1 row has"
        raise DataError(f"{count} {what}: row {listed(map(str, rows), 5)}", where=where, fix=fix)


def _order(texts: set[str]) -> Callable[[str], tuple[float, str]]:
    """Return the key to sort by: numerical where every text is a number."""
    values = {text: _number(text) for text in texts}
    numeric = None not in values.values()
    return lambda text: (values[text] or 0.0 if numeric else 0.0, text)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None
