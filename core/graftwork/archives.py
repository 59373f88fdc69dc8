"""Unpack an archive from a stranger: regular files and folders, below one folder, within limits, or nothing at all."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from graftwork.disk import FULL
from graftwork.errors import DataError
from graftwork.files import atomic_folder
from graftwork.partial_files import writing
from graftwork.progress import QUIET, Progress
from graftwork.tar_members import BLOCK_BYTES, Readable, tar_members
from graftwork.unpacking import CHUNK_BYTES, Limits, Unpacking
from graftwork.zip_members import zip_members

__all__ = ["Limits", "extract", "is_archive"]

ZIP, GZIP, XZ, BZIP2 = b"PK", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh"
DAMAGE = (EOFError, ValueError, NotImplementedError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, struct.error)
MOST_PADDING_BYTES = 10**7
EXPECTED = "a .zip, .tar, .tar.gz, .tar.xz, .tar.bz2 or .gz"


def extract(
    archive: Path,
    folder: Path,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    progress: Progress = QUIET,
) -> list[Path]:
    """Unpack an archive, told by its first bytes, into `folder`, which is replaced whole; return its files.

    Files get no right to be executed, and no owner or time of the archive's. Raises DataError for anything but
    regular files and folders with harmless names, for damage, and for more than `limits`; then `folder` stays as it
    was, and nothing else is left.
    """
    if not archive.is_file():
        raise DataError("The archive is missing", where=str(archive), expected=EXPECTED, fix="correct its path")
    with writing(folder.parent), atomic_folder(folder) as temporary:
        unpacking = Unpacking(temporary, limits, progress, archive.stat().st_size)
        with _told(archive):
            _unpack(archive, unpacking)
    return [folder / path for path in unpacking.files]


def is_archive(path: Path) -> bool:
    """Return whether a file begins as the archives do that `extract` takes."""
    with path.open("rb") as file:
        head = file.read(BLOCK_BYTES)
    return head.startswith((ZIP + b"\3\4", ZIP + b"\5\6", GZIP, XZ, BZIP2)) or _is_tar(head)


def _unpack(archive: Path, unpacking: Unpacking) -> None:
    with archive.open("rb") as file:
        head = file.read(BLOCK_BYTES)
    if head.startswith(ZIP):
        _unpack_zip(archive, unpacking)
        return
    if not head.startswith((GZIP, XZ, BZIP2)) and not _is_tar(head):
        raise DataError("This isn't an archive", expected=EXPECTED, fix="extract: false keeps the file as it is")
    with _decompressed(archive, head) as stream:
        first = stream.read(BLOCK_BYTES)
        content = _Again(first, stream)
        if _is_tar(first):
            _unpack_tar(content, unpacking)
        else:
            unpacking.add(archive.stem or archive.name, False, content)


def _decompressed(archive: Path, head: bytes) -> IO[bytes]:
    if head.startswith(GZIP):
        return cast(IO[bytes], gzip.open(archive))
    if head.startswith(XZ):
        return lzma.open(archive)
    return bz2.open(archive) if head.startswith(BZIP2) else archive.open("rb")


def _unpack_tar(stream: Readable, unpacking: Unpacking) -> None:
    for member in tar_members(stream):
        unpacking.add(member.name, member.folder, stream, member.size)
    padding = 0
    while piece := stream.read(CHUNK_BYTES):  # a compressed stream's own checksum comes last
        padding += len(piece)
        if padding > MOST_PADDING_BYTES:
            raise DataError("There is more behind the archive's end", expected="its end", fix="download it again")


def _unpack_zip(archive: Path, unpacking: Unpacking) -> None:
    for name, content in zip_members(archive):
        unpacking.add(name, content is None, content or io.BytesIO())


def _is_tar(head: bytes) -> bool:
    """Return whether a first block is a tar header, by its own checksum."""
    given = head[148:156].strip(b"\0 ")
    if len(head) < BLOCK_BYTES or not given or set(given) - set(b"01234567"):
        return False
    return int(given, 8) == 8 * ord(" ") + sum(head[:148]) + sum(head[156:])


@dataclass
class _Again:
    """A stream whose first bytes were looked at already."""

    first: bytes
    stream: Readable

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if self.first:
            piece, self.first = self.first[:size], self.first[size:]
            return piece
        return self.stream.read(size)


@contextmanager
def _told(archive: Path) -> Iterator[None]:
    """Turn what the decompressors raise into DataError, and say which archive it is."""
    try:
        yield
    except DataError as error:
        raise DataError(error.what, where=str(archive), expected=error.expected, fix=error.fix) from None
    except UnicodeDecodeError:
        raise DataError(
            "A member of the archive has a name that isn't valid UTF-8", where=str(archive), fix="pack it anew"
        ) from None
    except OSError as error:
        if error.errno in (
            *FULL,
            errno.EACCES,
            errno.EPERM,
            errno.EROFS,
            errno.EIO,
        ):  # the disk's, not a decompressor's
            raise
        raise _damaged(archive, error) from None
    except (
        EOFError,
        ValueError,
        NotImplementedError,
        zlib.error,
        lzma.LZMAError,
        zipfile.BadZipFile,
        struct.error,
    ) as error:
        raise _damaged(archive, error) from None


def _damaged(archive: Path, error: Exception) -> DataError:
    return DataError(f"The archive is damaged: {error}", where=str(archive), expected=EXPECTED, fix="download it again")
