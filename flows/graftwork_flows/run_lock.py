"""One run at a time in a workspace; the second is told who holds it. A dead holder holds nothing."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from graftwork.errors import StateError
from graftwork.files import make_folder


@contextmanager
def run_lock(folder: Path, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the workspace's lock; raise StateError, naming the holder, when it isn't free in time."""
    make_folder(folder)
    try:
        file = (folder / "run.lock").open("a+")
    except OSError as error:
        raise StateError(
            f"The lock can't be written: {error.strerror}", where=str(folder), fix=f"chmod u+w {folder}"
        ) from error
    with file:
        _acquire(file, time.monotonic() + wait_seconds)
        file.seek(0)
        file.truncate()
        json.dump({"pid": os.getpid(), "what": what, "since": time.strftime("%Y-%m-%d %H:%M:%S")}, file)
        file.flush()
        yield  # the system releases the lock with the file, however the process ends


def _acquire(file: IO[str], deadline: float) -> None:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise _busy(file) from None
            time.sleep(0.2)


def _busy(file: IO[str]) -> StateError:
    file.seek(0)
    try:
        holder = json.loads(file.read())
        who = f"{holder['what']}, process {holder['pid']}, since {holder['since']}"
        fix = f"wait for it (--wait SECONDS), or end it: kill {holder['pid']}"
    except (ValueError, KeyError):
        who, fix = "another run", "wait for it (--wait SECONDS)"
    return StateError(f"This workspace is busy: {who}", where=file.name, expected="one run at a time", fix=fix)
