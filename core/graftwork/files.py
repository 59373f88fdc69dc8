"""Write files and folders so that a reader finds the old ones or the new ones, never half of either."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graftwork.disk import room_for
from graftwork.errors import StateError
from graftwork.temporaries import remove, swap, temporary_beside


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the target's folder; move it into place, synced, when the block ends well.

    Raises DiskFullError where there is no room; the old file stays then.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = temporary_beside(path)
    try:
        with room_for(path):
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; swap it in whole when the block ends well.

    Raises DiskFullError where there is no room; the old folder stays then.
    """
    path = Path(path)
    make_folder(path.parent)
    temporary = temporary_beside(path)
    temporary.mkdir()
    try:
        with room_for(path):
            yield temporary
            for file in (*temporary.rglob("*"), temporary):
                _sync(file)
            swap(temporary, path)
            _sync(path.parent)
    finally:
        remove(temporary)


def make_folder(path: Path) -> None:
    """Create `path` and its parents; raise StateError where that is not allowed."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StateError(
            f"The folder can't be created: {error.strerror}",
            where=str(path),
            fix=f"make it writable: chmod u+w {path.parent}",
        ) from error


def require_writable(folder: Path) -> None:
    """Raise StateError unless a file can be written in `folder`, created if missing."""
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise StateError(
            f"The folder can't be written: {error.strerror}",
            where=str(folder),
            fix=f"chmod u+w {folder}, or run in another folder",
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal bytes. NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; raise StateError where the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StateError("A file of an earlier stage is missing", where=str(path), fix="graftwork run") from None
    except ValueError as error:
        raise StateError(
            f"The file isn't valid JSON: {error}", where=str(path), fix=f"rm {path} and run again"
        ) from error


def sha256_of_file(path: Path) -> str:
    """Return the hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
