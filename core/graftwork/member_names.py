"""Which names the members of an archive may have: those that mean one file below the folder, on every system."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from graftwork.errors import DataError

MOST_PART_BYTES = 255  # of one folder's or file's name, on all usual file systems
MOST_NAME_BYTES = 1024
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
DRIVE = re.compile(r"[A-Za-z]:")


def checked_name(name: str, folder: bool) -> PurePosixPath:
    """Return a member's path below the folder, without `./` and doubled slashes; raise DataError for one elsewhere.

    Only a folder may be the folder itself, `./`.
    """
    wrong = _fault(name) or (None if folder or PurePosixPath(name).parts else "names no file")
    if wrong:
        raise DataError(
            f"A member of the archive has a name that {wrong}: {shown_name(name)}",
            expected="relative names of files and folders", fix="don't use this archive, or pack it anew",
        )  # fmt: skip
    return PurePosixPath(name)


def shown_name(name: str) -> str:
    """Return a name as messages show it: escaped, and cut when long."""
    return ascii(name) if len(name) <= 100 else f"{name[:100]!a}… ({len(name)} letters)"


def _fault(name: str) -> str | None:
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        return "isn't valid UTF-8"
    parts = PurePosixPath(name).parts
    if not name:
        return "is empty"
    if name.startswith("/") or DRIVE.match(name):
        return "is absolute"
    if ".." in parts:
        return "leads out of the folder"
    if "\\" in name:
        return "holds a backslash"
    if CONTROL.search(name):
        return "holds a control character"
    if len(encoded) > MOST_NAME_BYTES or any(len(part.encode()) > MOST_PART_BYTES for part in parts):
        return f"is too long (more than {MOST_NAME_BYTES} bytes, or {MOST_PART_BYTES} between slashes)"
    return None


@dataclass
class Taken:
    """The names given out so far, told apart as the least discerning file system does: without case."""

    folders: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def take(self, path: PurePosixPath, folder: bool) -> None:
        """Note a member and the folders above it; raise DataError when a name is taken. A folder may come again."""
        above = [parent for parent in path.parents if parent.parts]
        for each in [*above, *([path] if folder and path.parts else [])]:
            known = self.folders.setdefault(_folded(each), str(each))
            if known != str(each) or _folded(each) in self.files:
                raise _twice(str(each), self.files.get(_folded(each), known))
        if not folder:
            taken = self.files.get(_folded(path)) or self.folders.get(_folded(path))
            if taken is not None:
                raise _twice(str(path), taken)
            self.files[_folded(path)] = str(path)


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", str(path)).casefold()


def _twice(name: str, known: str) -> DataError:
    return DataError(
        f"Two members of the archive have the same name, or differ in case only: {shown_name(known)} and "
        f"{shown_name(name)}", expected="a name for each", fix="pack the archive anew",
    )  # fmt: skip
