"""One run at a time in a workspace; the second is told who holds it. A dead holder holds nothing."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from graftwork.errors import StateError
from graftwork.files import make_folder
from graftwork.processes import process_of, this_process

DYING_SECONDS = 5.0  # in which the processes of a killed holder let go of what they share with it


@contextmanager
def run_lock(
    folder: Path, what: str, wait_seconds: float = 0.0, check: Callable[[], None] = lambda: None
) -> Iterator[str]:
    """Hold the workspace's lock; raise StateError, naming the holder, when it isn't free in time.

    Yields who held it last and died while doing so; an empty text where nobody did. `check` may end the waiting.
    """
    make_folder(folder)
    try:
        file = (folder / "run.lock").open("a+")
    except OSError as error:
        raise StateError(
            f"The lock can't be written: {error.strerror}", where=str(folder), fix=f"chmod u+w {folder}"
        ) from error
    with file:
        _acquire(file, time.monotonic() + wait_seconds, check)
        former = _holder(file)
        _write(file, Holder(what, os.getpid(), time.strftime("%Y-%m-%d %H:%M:%S"), str(this_process())))
        try:
            yield str(former) if former else ""
        finally:
            _write(file, None)  # only who dies leaves his name; the system releases the lock in any case


def require_free(folder: Path) -> None:
    """Raise StateError, naming the holder, where a run goes on; who died last is still known afterwards."""
    try:
        file = (folder / "run.lock").open()
    except FileNotFoundError:
        return
    with file:
        _acquire(file, 0.0, lambda: None)


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    what: str
    pid: int
    since: str
    process: str

    def __str__(self) -> str:
        return f"{self.what}, process {self.pid}, since {self.since},"

    @property
    def dead(self) -> bool:
        """Whether it surely runs no more."""
        process = process_of(self.process)
        return process is not None and process.dead


def _acquire(file: IO[str], deadline: float, check: Callable[[], None]) -> None:
    patient = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(file)
            if holder and holder.dead and not patient:
                patient, deadline = True, max(deadline, time.monotonic() + DYING_SECONDS)
            if time.monotonic() >= deadline:
                raise _busy(file, holder) from None
            check()
            time.sleep(0.05 if patient else 0.2)


def _holder(file: IO[str]) -> Holder | None:
    """Return who wrote his name, if anyone did."""
    file.seek(0)
    try:
        return Holder(**json.loads(file.read()))
    except (ValueError, TypeError):
        return None


def _write(file: IO[str], holder: Holder | None) -> None:
    file.seek(0)
    file.truncate()
    if holder is not None:
        json.dump(asdict(holder), file)
    file.flush()


def _busy(file: IO[str], holder: Holder | None) -> StateError:
    if holder is not None:
        who = f"{holder.what}, process {holder.pid}, since {holder.since}"
        fix = f"wait for it (--wait SECONDS), or end it: kill {holder.pid}"
    else:
        who, fix = "another run", "wait for it (--wait SECONDS)"
    return StateError(f"This workspace is busy: {who}", where=file.name, expected="one run at a time", fix=fix)
