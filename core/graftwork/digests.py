"""Tell whether the bytes that came are the ones that were published."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from graftwork.errors import DataError
from graftwork.progress import Progress

CHUNK_BYTES = 1 << 20
PAGE = re.compile(rb"\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Checksums:
    """What was published of a file, as hexadecimal digits."""

    sha256: str | None = None
    md5: str | None = None

    @property
    def known(self) -> bool:
        """Whether anything was published."""
        return bool(self.sha256 or self.md5)

    def check_form(self, where: str) -> None:
        """Raise DataError for what can't be a checksum."""
        for name, digits in (("sha256", 64), ("md5", 32)):
            given = getattr(self, name)
            if given is not None and not re.fullmatch(rf"[0-9a-fA-F]{{{digits}}}", given):
                raise DataError(
                    f"{name}: {given[:80]!r} can't be one", where=where, expected=f"{digits} hexadecimal digits",
                    fix=f"{name}sum FILE tells it",
                )  # fmt: skip


def digests_of(path: Path, expected: Checksums, progress: Progress) -> tuple[str, str | None]:
    """Return a file's sha256, and what is wrong with its checksums: both digests, or None when they are right."""
    found = {"sha256": hashlib.sha256(), "md5": hashlib.md5(usedforsecurity=False)}
    if expected.md5 is None:
        del found["md5"]
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            progress.check()
            for each in found.values():
                each.update(chunk)
    for name, each in found.items():
        wanted = getattr(expected, name)
        if wanted is not None and wanted.lower() != each.hexdigest():
            return found["sha256"].hexdigest(), f"{name} {each.hexdigest()}, not {wanted.lower()}"
    return found["sha256"].hexdigest(), None


def looks_like_a_page(path: Path) -> bool:
    """Return whether a file begins like an HTML page."""
    with path.open("rb") as file:
        return PAGE.match(file.read(1024).removeprefix(b"\xef\xbb\xbf")) is not None
