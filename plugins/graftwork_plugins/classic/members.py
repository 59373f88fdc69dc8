"""Read chosen files out of a zip or tar archive, in memory: nothing is unpacked, so no name can lead anywhere."""

from __future__ import annotations

import gzip
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from graftwork.errors import DataError

MOST_MEMBERS = 100_000
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class Member:
    """A regular file of an archive; its content can be read until the next one is asked for."""

    path: PurePosixPath
    size: int  # bytes, as the archive says
    stream: IO[bytes]

    def read(self, most_bytes: int) -> bytes:
        """Return its content; raise DataError where it is larger than `most_bytes`."""
        content = self.stream.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise DataError(
                f"The file {self.path.name!r} has {self.size:,} bytes", expected=f"at most {most_bytes:,}",
                fix="fetch the archive anew",
            )  # fmt: skip
        return content


@contextmanager
def opened(archive: Path, most_bytes: int) -> Iterator[Iterator[Member]]:
    """Yield the regular files of a zip, tar or tar.gz in their order; links, folders and devices are passed over.

    Raises DataError for what is damaged or encrypted, and where more than `most_bytes` come out of it.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as content, closing(_zipped(content, archive, most_bytes)) as members:
                yield _limited(members, archive)
        else:
            with archive.open("rb") as file:
                packed = file.read(2) == b"\x1f\x8b"
                file.seek(0)
                stream = _Counted(gzip.GzipFile(fileobj=file) if packed else file, archive, most_bytes)
                with tarfile.open(fileobj=cast("IO[bytes]", stream), mode="r|") as tar:
                    yield _limited(_tarred(tar), archive)
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


def _tarred(tar: tarfile.TarFile) -> Iterator[Member]:
    for info in tar:
        stream = tar.extractfile(info) if info.isreg() else None
        if stream is not None:
            yield Member(PurePosixPath(info.name), info.size, stream)
        tar.members = []  # type: ignore[attr-defined]  # else it remembers every one


def _zipped(archive: zipfile.ZipFile, path: Path, most_bytes: int) -> Generator[Member, None, None]:
    total = 0
    for info in archive.infolist():
        if info.is_dir() or stat.S_ISLNK(info.external_attr >> 16):
            continue
        if info.flag_bits & 1:
            raise DataError(f"The file {info.filename!r} is encrypted", where=str(path), fix="unpack the archive")
        total += info.file_size  # zipfile reads no more than that
        if total > most_bytes:
            raise _too_much(path, most_bytes)
        with archive.open(info) as stream:
            yield Member(PurePosixPath(info.filename), info.file_size, stream)


def _limited(members: Iterator[Member], archive: Path) -> Iterator[Member]:
    for number, member in enumerate(members):
        if number >= MOST_MEMBERS:
            limit = f"at most {MOST_MEMBERS:,}"
            raise DataError("The archive holds too many files", where=str(archive), expected=limit)
        yield member


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
