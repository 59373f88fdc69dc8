"""Open Parquet files, where pyarrow is installed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graftwork.errors import DataError, SettingsError

BUFFER_BYTES = 2**20  # without it, and with pre_buffer, pyarrow holds what lies before a row until the last one came


@contextmanager
def open_parquet(path: Path) -> Iterator[Any]:
    """Yield a `pyarrow.parquet.ParquetFile`; what fails while it is read becomes a DataError."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise SettingsError(
            "Parquet files need pyarrow, which isn't installed", where=str(path),
            fix="pip install 'graftwork[parquet]'",
        ) from None  # fmt: skip
    try:
        with pyarrow.parquet.ParquetFile(path, buffer_size=BUFFER_BYTES, pre_buffer=False) as opened:
            yield opened
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"The Parquet file can't be read: {reason}", where=str(path), fix="is it whole, and the right file?"
        ) from None


def class_names(opened: Any, column: str) -> tuple[str, ...] | None:
    """Return the names that a column's integers stand for, where Hugging Face's metadata tell them."""
    stored = (opened.schema_arrow.metadata or {}).get(b"huggingface")
    try:
        names = json.loads(stored)["info"]["features"][column]["names"] if stored else None
    except (ValueError, KeyError, TypeError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def require_single(opened: Any, column: str, path: Path) -> None:
    """Raise DataError for a column whose cells hold lists or fields, as a label or a split is one value."""
    import pyarrow.types as types

    kind = opened.schema_arrow.field(column).type
    if types.is_nested(kind):
        raise DataError(
            f"The column {column!r} holds {kind}", where=str(path), expected="one text or number a row",
            fix="name another column, or write one value a row",
        )  # fmt: skip


def as_text(value: object) -> str:
    """Return a cell as text: nothing for null and NaN, whole numbers without a point, bytes as the UTF-8 they are."""
    if value is None or value != value:
        return ""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def holds_bytes(kind: Any) -> bool:
    """Return whether a column of this type holds bytes, by themselves or beside a path, as Hugging Face's do."""
    import pyarrow.types as types

    if types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(types.is_binary(kind) or types.is_large_binary(kind))
