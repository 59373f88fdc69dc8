"""What has come of a download so far, kept so that the next try, or the next run, goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graftwork.desk import Desk
from graftwork.disk import FULL, disk_full
from graftwork.errors import StateError
from graftwork.file_locks import acquire
from graftwork.files import make_folder, read_json, write_json


@dataclass(frozen=True)
class Partial:
    """One URL's partial file, and a note of the sign by which the server knows that it is still the same file."""

    path: Path

    @property
    def note(self) -> Path:
        """The file of the sign."""
        return self.path.with_suffix(".json")

    @property
    def size(self) -> int:
        """How many bytes have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    @property
    def sign(self) -> str | None:
        """What the server gave that names the file's very bytes, fit for If-Range (RFC 9110, 13.1.5)."""
        try:
            sign = read_json(self.note)["sign"]
        except (StateError, KeyError, TypeError):
            return None
        return sign if isinstance(sign, str) else None

    def begin(self, sign: str | None) -> None:
        """Forget what has come, then note the sign of what shall come: in this order, as a kill may fall between."""
        self.path.write_bytes(b"")
        write_json(self.note, {"sign": sign})

    def drop(self) -> None:
        """Remove the file and its note."""
        self.path.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


@contextmanager
def partial_file(url: str, desk: Desk) -> Iterator[Partial]:
    """Yield a URL's partial file, held against others: a second download of the URL waits.

    It is named by a hash, since a URL may hold a secret. The lock is a file by itself that stays, so that nobody
    holds the lock of a file that is gone.
    """
    make_folder(desk.partial)
    path = desk.partial / f"{hashlib.sha256(url.encode()).hexdigest()[:32]}.part"
    with writing(desk.partial), path.with_suffix(".lock").open("a") as lock:
        acquire(lock.fileno(), desk.progress, "another run downloads the same file: waiting for it")
        yield Partial(path)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a full disk into DiskFullError, and a folder that can't be written into StateError."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise disk_full(folder, error) from error
        raise StateError(
            f"A file can't be written: {error.strerror or error}", where=str(folder), expected="a writable folder",
            fix=f"chmod u+w {folder}",
        ) from error  # fmt: skip
