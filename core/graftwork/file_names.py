"""Refuse data in which a file's name isn't UTF-8: no record of DVC's, and no JSON, can hold it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from graftwork.errors import DataError, listed
from graftwork.names import printable


def require_utf8_names(path: Path) -> None:
    """Raise DataError where the name of a file, or of anything below a folder, isn't UTF-8; links aren't followed."""
    wrong = [str(path)] if not _is_utf8(str(path)) else sorted(map(str, _below(path)))
    if wrong:
        several = len(wrong) > 1
        raise DataError(
            f"{len(wrong):,} file name{'s' * several} {'are' if several else 'is'} not UTF-8: "
            f"{listed(map(printable, wrong), 5)}", where=printable(path), expected="names in UTF-8",
            fix="rename them; convmv -f latin1 -t utf8 -r FOLDER shows what a whole folder's names could be",
        )  # fmt: skip


def _below(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        yield from (Path(folder, name).relative_to(root) for name in (*below, *names) if not _is_utf8(name))


def _is_utf8(name: str) -> bool:
    """Tell whether a name is UTF-8; of one that isn't, Python keeps the bytes as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
