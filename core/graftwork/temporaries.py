"""Names of what isn't whole yet, and how it takes the place of what was: a kill at any moment leaves one or the other.

A temporary's name tells whose it is, so that those of dead processes are swept by the next run.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from graftwork.processes import FORM, process_of, this_process

TEMPORARY = re.compile(rf"\..*?\.(?:({FORM.pattern})\.)?[0-9a-f]{{8}}\.tmp", re.DOTALL)
FORMER = ".former"  # the end of the name of a folder that was moved aside
FOREIGN_SECONDS = 86_400.0  # after which another machine's temporary counts as left behind
AT_CWD, EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)


def temporary_beside(path: Path) -> Path:
    """Return a new name in the same folder, which tells this process."""
    return path.with_name(f".{path.name[:40]}.{this_process()}.{secrets.token_hex(4)}.tmp")


def swap(new: Path, path: Path) -> None:
    """Put a folder in the place of whatever is there, which is deleted or left under the name `new`.

    In one step where the system has one; elsewhere the old is moved aside first, where `settle` finds it.
    """
    if not os.path.lexists(path):
        new.replace(path)
    elif not _exchanged(new, path):
        former = path.with_name(f".{path.name}{FORMER}")
        remove(former)
        path.rename(former)
        new.replace(path)
        remove(former)


def settle(path: Path) -> None:
    """Put back what `swap` moved aside, if it was killed before the new took its place."""
    former = path.with_name(f".{path.name}{FORMER}")
    if os.path.lexists(former):
        if os.path.lexists(path):
            remove(former)
        else:
            former.rename(path)


def sweep(places: Iterable[tuple[Path, int]]) -> list[Path]:
    """Remove what dead processes left half-written in these folders, so many levels deep; return what it was."""
    swept = []
    for place, levels in places:
        for entry in _entries(place, levels):
            if _left_behind(entry):
                remove(entry)
                swept.append(entry)
            elif entry.name.startswith(".") and entry.name.endswith(FORMER):
                settle(entry.with_name(entry.name[1 : -len(FORMER)]))
                swept.append(entry)
    return swept


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _entries(folder: Path, levels: int) -> Iterator[Path]:
    """Yield what is in a folder and, `levels` deep, below it; never what is in a temporary, or behind a link."""
    if not folder.is_dir() or folder.is_symlink():
        return
    for entry in sorted(folder.iterdir()):
        yield entry
        if levels and not TEMPORARY.fullmatch(entry.name):
            yield from _entries(entry, levels - 1)


def _left_behind(path: Path) -> bool:
    found = TEMPORARY.fullmatch(path.name)
    if found is None:
        return False
    owner = process_of(found[1] or "")
    if owner is not None and owner.ours:
        return owner.dead
    return time.time() - path.lstat().st_mtime > FOREIGN_SECONDS


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places in one step; tell whether the system and its file system can."""
    call = _renameat2()
    return call is not None and call(AT_CWD, os.fsencode(one), AT_CWD, os.fsencode(other), EXCHANGE) == 0


@cache
def _renameat2() -> ctypes._NamedFuncPointer | None:
    if sys.platform != "linux":
        return None
    found = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if found is not None:
        found.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    return found
