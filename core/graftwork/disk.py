"""A full disk: recognised whichever library met it, and told with what was to be written and what is free."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from graftwork.errors import DiskFullError, GraftworkError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# safetensors tells the number in words, NumPy that less was written than asked; SQLite and torch have their own words.
WORDS = (
    rf"\(os error ({'|'.join(map(str, FULL))})\)", r"\d+ requested and \d+ written", "disk is full", "disk I/O error",
    "failed writing file",
)  # fmt: skip
SAID = re.compile("|".join(WORDS))


def means_full(error: BaseException) -> bool:
    """Tell whether an error, or what it came of, says that the disk, or what one may have of it, is full."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if isinstance(found, DiskFullError) or getattr(found, "errno", None) in FULL or SAID.search(str(found)):
            return True
        found = found.__cause__ or found.__context__
    return False


def disk_full(where: Path | str, error: BaseException) -> DiskFullError:
    """Return the error that says so, with what is free where `where` lies."""
    if isinstance(error, DiskFullError):
        return error
    folder = Path(where)
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    free = "?"
    with suppress(OSError):
        free = f"{shutil.disk_usage(folder).free / 1e6:,.1f} MB"
    failing = " or failing" if "disk I/O error" in str(error) else ""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return DiskFullError(
        f"The disk is full{failing}: {said}", where=str(where),
        expected=f"room for what is to be written; {free} are free",
        fix="free some, or raise your quota (ulimit -f), and run again: it goes on where it was; old files are whole",
    )  # fmt: skip


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn what a full disk makes of writing `path` into DiskFullError."""
    try:
        yield
    except GraftworkError:
        raise
    except Exception as error:
        if means_full(error):
            raise disk_full(path, error) from error
        raise


def reserve(path: Path) -> None:
    """Take the place on the disk that a file's size promises: writing to a mapped one without kills the process.

    Raises OSError where there isn't so much; does nothing where the system can't tell.
    """
    if hasattr(os, "posix_fallocate") and path.stat().st_size:
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS):
                    raise
