"""Keep what was found out by importing every plugin until a file that it was made from changes.

To list the plugins, or to check settings, all of them must be imported, and torch with them: seconds. Looking at the
files' times takes milliseconds. Nothing is written by hand that could go stale: the files watched are those of all
modules that Python had imported by then, params.yaml, and the folders in which it looks for modules (an installation
changes these).
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from graftwork.cache_folder import cache_folder

Listing = dict[str, Any]  # as JSON; `failures` among it, of plugins that can't be loaded


def kept(root: Path, name: str, make: Callable[[], Listing]) -> Listing:
    """Return what is kept under a name for a folder if it still holds; otherwise make it, and keep it.

    One with failures isn't kept: what mends a plugin may lie anywhere. Nor is it an error where none can be written.
    """
    place = _place(root, name)
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads(place.read_text(encoding="utf-8"))
        if record["state"] == _state(record["watched"]):
            found: Listing = record["listing"]
            return found
    made = make()
    if not made["failures"]:
        watched = sorted(_watched(root))
        _write(place, {"state": _state(watched), "listing": made, "watched": watched})
    return made


def _place(root: Path, name: str) -> Path:
    """Return where it is kept: in the workspace, or, outside of any, in the user's cache."""
    if (root / "params.yaml").is_file():
        return root / ".graftwork" / f"{name}.json"
    return cache_folder() / f"{name}.json"


def _watched(root: Path) -> set[str]:
    """Return the files of every imported module but Python's own, their folders, params.yaml and the search path.

    A folder's time tells that a file came or went, such as a new local plugin beside the others.
    """
    own = (sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"))
    files = {str(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    files = {file for file in files if "site-packages" in file or not file.startswith(own)}
    local = {str(Path(file).parent) for file in files if file.startswith(f"{root}{os.sep}")}
    return files | local | {str(root / "params.yaml")} | {folder for folder in sys.path if folder}


def _state(paths: Iterable[str]) -> str:
    """Return a digest of the interpreter, its search path, and each path's time and size."""
    digest = hashlib.sha256(repr((sys.version, sys.executable, sys.path)).encode())
    for path in paths:
        try:
            found = os.stat(path)  # noqa: PTH116  # a thousand files: pathlib takes as long again
            digest.update(f"{path}\0{found.st_mtime_ns}\0{found.st_size}\n".encode())
        except OSError:
            digest.update(f"{path}\0-\n".encode())
    return digest.hexdigest()


def _write(place: Path, record: dict[str, Any]) -> None:
    from graftwork.errors import GraftworkError
    from graftwork.files import make_folder, write_text

    with suppress(OSError, GraftworkError):
        make_folder(place.parent)
        write_text(place, json.dumps(record))  # in the order of the fields, not sorted
