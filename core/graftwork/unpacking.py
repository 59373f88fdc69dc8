"""Write an archive's members below a folder, each name checked, everything counted as it is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from graftwork.errors import DataError
from graftwork.member_names import Taken, checked_name
from graftwork.progress import Progress
from graftwork.tar_members import Readable

CHUNK_BYTES = 1 << 20
FREE_BYTES = 10**7  # below this no ratio is too high: a page of zeros isn't a bomb
TELL_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """What an archive may hold, counted while it is written, whatever it claims."""

    most_members: int = 500_000
    most_bytes: int = 500 * 10**9
    most_file_bytes: int = 200 * 10**9
    most_ratio: float = 200.0  # bytes written for each of the archive; images have about 1, text 10


@dataclass
class Unpacking:
    """What has been unpacked so far, held against the limits."""

    folder: Path
    limits: Limits
    progress: Progress
    archive_bytes: int
    files: list[PurePosixPath] = field(default_factory=list)
    members: int = 0
    written_bytes: int = 0
    told: float = field(default_factory=time.monotonic)
    taken: Taken = field(default_factory=Taken)

    def add(self, name: str, folder: bool, content: Readable, size: int | None = None) -> None:
        """Write a member; `size` ends a file whose stream goes on."""
        self.progress.check()
        self.members += 1
        self._hold("members", self.members, self.limits.most_members)
        path = checked_name(name, folder)
        self.taken.take(path, folder)
        target = self.folder / path
        if folder:
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            self._copy(content, file, size)
        self.files.append(path)
        if time.monotonic() - self.told > TELL_SECONDS:
            self.told = time.monotonic()
            self.progress.log(f"{self.members:,} members, {self.written_bytes / 1e6:,.0f} MB unpacked")

    def _copy(self, content: Readable, file: IO[bytes], size: int | None) -> None:
        written = 0
        while size is None or written < size:
            piece = content.read(CHUNK_BYTES if size is None else min(CHUNK_BYTES, size - written))
            if not piece:
                if size is None:
                    return
                raise DataError("The archive ends in the middle", expected=f"{size:,} bytes", fix="download it again")
            self.progress.check()
            written += len(piece)
            self.written_bytes += len(piece)
            self._hold("file_bytes", written, self.limits.most_file_bytes)
            self._hold("bytes", self.written_bytes, self.limits.most_bytes)
            if self.written_bytes > FREE_BYTES:
                self._hold("ratio", self.written_bytes / max(self.archive_bytes, 1), self.limits.most_ratio)
            file.write(piece)

    def _hold(self, what: str, found: float, most: float) -> None:
        if found > most:
            raise DataError(
                f"The archive exceeds most_{what}: {found:,.0f}", expected=f"{most:,.0f} at most",
                fix=f"raise most_{what} if you trust the archive",
            )  # fmt: skip
