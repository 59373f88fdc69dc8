"""Locks that are files: one holds it, others wait and heed their progress; the system releases those of the dead."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from graftwork.files import make_folder
from graftwork.progress import Progress

POLL_SECONDS = 0.2


def acquire(descriptor: int, progress: Progress, told: str) -> None:
    """Lock an open file; tell once if that has to be waited for."""
    waiting = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not waiting:
                progress.log(told)
            waiting = True
            progress.check()
            time.sleep(POLL_SECONDS)


@contextmanager
def held(path: Path, progress: Progress, told: str) -> Iterator[None]:
    """Hold the lock of this path, whose file goes when it is released; say `told` where another holds it."""
    make_folder(path.parent)
    while True:
        with path.open("a") as file:
            acquire(file.fileno(), progress, told)
            if _is_at(path, file):  # else who held it has removed it, and somebody may hold a new one
                try:
                    yield
                finally:
                    path.unlink(missing_ok=True)
                return


def _is_at(path: Path, file: IO[str]) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
