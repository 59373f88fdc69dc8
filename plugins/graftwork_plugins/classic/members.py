"""Read chosen files out of a zip or tar archive, in memory: nothing is unpacked, so no name can lead anywhere."""

from __future__ import annotations

import gzip
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from graftwork.errors import DataError
from graftwork.zip_members import refuse_special

MOST_MEMBERS = 100_000
CHUNK_BYTES = 1 << 20
DAMAGED = (  # what tarfile, zipfile and gzip raise for bytes that make no sense; found by altering archives at random
    tarfile.TarError, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, IndexError,
    NotImplementedError,
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A regular file of an archive; its content can be read until the next one is asked for."""

    archive: Path
    path: PurePosixPath
    stream: IO[bytes]

    def read(self, most_bytes: int) -> bytes:
        """Return its content. Raises DataError where it is damaged, or larger than `most_bytes`."""
        pieces: list[bytes] = []
        left = most_bytes + 1
        with _intact(self.archive):
            while piece := self.stream.read(min(CHUNK_BYTES, left)):
                pieces.append(piece)
                left -= len(piece)
        if not left:
            raise DataError(
                f"The file {self.path.name!r} is too large", where=str(self.archive),
                expected=f"at most {most_bytes:,} bytes", fix="fetch the archive anew",
            )  # fmt: skip
        return b"".join(pieces)


@contextmanager
def opened(archive: Path, most_bytes: int) -> Iterator[Iterator[Member]]:
    """Yield the regular files of a zip, tar or tar.gz in their order; links and folders are passed over.

    Raises DataError for what is damaged, encrypted or packed by a method of which zipfile unpacks any amount at once,
    and where more than `most_bytes` come out of it.
    """
    with _intact(archive):
        unpack = _zipped if zipfile.is_zipfile(archive) else _tarred
    with closing(unpack(archive, most_bytes)) as members:  # else an error leaves the file open
        yield _limited(members, archive)


@contextmanager
def _intact(archive: Path) -> Iterator[None]:
    try:
        yield
    except DAMAGED as error:
        raise DataError(
            f"The archive can't be read: {error}", where=str(archive), expected="a whole zip, tar or tar.gz",
            fix="fetch it anew",
        ) from None  # fmt: skip


def read_members(archive: Path, names: Collection[str], most_bytes: int, most_in_all: int) -> dict[str, bytes]:
    """Return the files whose last names are in `names`, each of at most `most_bytes`; raise DataError for a second."""
    found: dict[str, bytes] = {}
    with opened(archive, most_in_all) as members:
        for member in members:
            name = member.path.name
            if name in found:
                raise DataError(f"The file {name!r} is there twice", where=str(archive), fix="fetch the archive anew")
            if name in names:
                found[name] = member.read(most_bytes)
    return found


def _tarred(path: Path, most_bytes: int) -> Generator[Member, None, None]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream = _Counted(gzip.GzipFile(fileobj=file) if packed else file, path, most_bytes)
        with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
            for info in tar:
                content = tar.extractfile(info) if info.isreg() else None
                if content is not None:
                    yield Member(path, PurePosixPath(info.name), content)
                tar.members = []  # type: ignore[attr-defined]  # else it remembers every one


def _zipped(path: Path, most_bytes: int) -> Generator[Member, None, None]:
    total = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/") or stat.S_ISLNK(info.external_attr >> 16):
                continue
            refuse_special(info, str(path))
            total += info.file_size  # of what is stored or deflated zipfile gives no more than that
            if total > most_bytes:
                raise _too_much(path, most_bytes)
            with archive.open(info) as stream:
                yield Member(path, PurePosixPath(info.filename), stream)


def _limited(members: Iterator[Member], archive: Path) -> Iterator[Member]:
    for _ in range(MOST_MEMBERS):
        with _intact(archive):
            member = next(members, None)
        if member is None:
            return
        yield member
    raise DataError("The archive holds too many files", where=str(archive), expected=f"at most {MOST_MEMBERS:,}")


class _Counted:
    """A stream that ends the reading of an archive that unpacks to too much."""

    def __init__(self, stream: IO[bytes] | gzip.GzipFile, archive: Path, most_bytes: int) -> None:
        self.stream, self.archive, self.most_bytes, self.count = stream, archive, most_bytes, 0

    def read(self, size: int) -> bytes:
        content = self.stream.read(size)
        self.count += len(content)
        if self.count > self.most_bytes:
            raise _too_much(self.archive, self.most_bytes)
        return content


def _too_much(archive: Path, most_bytes: int) -> DataError:
    return DataError(
        "The archive unpacks to too much", where=str(archive), expected=f"at most {most_bytes:,} bytes",
        fix="fetch it anew",
    )  # fmt: skip
