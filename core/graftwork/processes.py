"""Tell a process of this machine from every other: what a dead one left behind may be swept, what it held is free."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FORM = re.compile(r"([0-9a-f]{6})-(\d+)-(\d+)")


@dataclass(frozen=True)
class Process:
    """A process by its machine, its number and when it started: numbers are given again, moments aren't."""

    machine: str
    pid: int
    started: int  # in ticks since the machine's start; 0 where the system doesn't tell

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.started}"

    @property
    def ours(self) -> bool:
        """Whether it is, or was, of this machine: of another's nothing can be told."""
        return self.machine == _machine()

    @property
    def dead(self) -> bool:
        """Whether it is of this machine and runs no more."""
        return self.ours and not _runs(self.pid, self.started)


def this_process() -> Process:
    """Return the process that asks; a forked one is another."""
    return process_numbered(os.getpid())


def process_numbered(pid: int) -> Process:
    """Return the process of this machine that has this number now."""
    return Process(_machine(), pid, _state(pid)[1])


def process_of(text: str) -> Process | None:
    """Return the process that `str` made this text of, or None for another text."""
    found = FORM.fullmatch(text)
    return Process(found[1], int(found[2]), int(found[3])) if found else None


@cache
def _machine() -> str:
    """Return a mark of the host and, in a container, of its own numbering of processes."""
    numbering = ""
    with suppress(OSError):
        numbering = str(Path("/proc/self/ns/pid").readlink())
    return hashlib.sha256(f"{socket.gethostname()} {numbering}".encode()).hexdigest()[:6]


def _runs(pid: int, started: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    state, since = _state(pid)
    return state not in ("Z", "X") and since in (0, started)  # a zombie holds nothing


def _state(pid: int) -> tuple[str, int]:
    """Return the state's letter and the start, as Linux tells them (proc(5)); elsewhere nothing and 0."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return fields[0], int(fields[19])
    except (OSError, IndexError, ValueError):
        return "", 0
