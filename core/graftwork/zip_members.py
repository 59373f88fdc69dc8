"""Read the members of a zip archive: plain files and folders, stored or deflated."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from graftwork.errors import DataError
from graftwork.member_names import shown_name

# zipfile unpacks a piece of the others as a whole, which may be a million times as large.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield each member's name and its content, None for a folder.

    Raises DataError for what isn't wanted, and what zipfile raises for damage. Names are taken as the archive has
    them: zipfile's `filename` has been mended.
    """
    with zipfile.ZipFile(archive, metadata_encoding="utf-8") as opened:
        for member in opened.infolist():
            refuse_special(member)
            with ExitStack() as stack:
                yield member.orig_filename, None if _is_folder(member) else stack.enter_context(opened.open(member))


def _is_folder(member: zipfile.ZipInfo) -> bool:
    return member.orig_filename.endswith("/") or stat.S_ISDIR(member.external_attr >> 16)


def refuse_special(member: zipfile.ZipInfo, where: str = "") -> None:
    """Raise DataError for what isn't a plain file or folder: encrypted, a link, a device, a rare method."""
    kind = stat.S_IFMT(member.external_attr >> 16)
    wrong = None
    if member.flag_bits & 0x1:
        wrong = "is encrypted"
    elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        wrong = "is a link or a device"
    elif member.compress_type not in METHODS:
        wrong = f"is compressed by the rare method {member.compress_type}"
    if wrong:
        raise DataError(
            f"A member of the archive {wrong}: {shown_name(member.orig_filename)}", where=where,
            expected="regular files and folders, stored or deflated", fix="pack the archive anew",
        )  # fmt: skip
