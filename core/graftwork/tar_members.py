"""Read the members of a tar archive as a stream, each header checked, nothing believed that could be large.

Written anew because `tarfile` reads a header's claimed size into memory, seeks backwards in compressed streams, and
knows dozens of kinds of members, of which two are wanted. The format: POSIX.1-2017, pax; GNU's long names.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from graftwork.errors import DataError
from graftwork.member_names import shown_name

BLOCK_BYTES = 512
MOST_EXTRA_BYTES = 1 << 16  # of a long name, or of pax attributes
MOST_EXTRAS = 16  # of these before a member; usual are up to three
FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Readable(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes, none at the end."""


@dataclass
class TarMember:
    """A file or a folder; `size` bytes of a file follow in the stream, then the rest of a block."""

    name: str
    folder: bool
    size: int


def tar_members(stream: Readable) -> Iterator[TarMember]:
    """Yield the members; the caller reads a file's bytes from the stream before the next. Raises DataError."""
    attributes: dict[str, str] = {}
    extras = 0
    while True:
        header = _header(read_exactly(stream, BLOCK_BYTES))
        if header is None:
            return
        if header.type in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.XGLTYPE):
            found = _extra(header, stream)
            # A global comment is what git writes; a global path would be nonsense.
            attributes |= {} if header.type == tarfile.XGLTYPE else found
            extras += 1
            if extras > MOST_EXTRAS:
                raise DataError(f"More than {MOST_EXTRAS} headers stand before a member", fix="don't use this archive")
            continue
        member = _member(header, attributes)
        attributes, extras = {}, 0
        yield member
        read_exactly(stream, -member.size % BLOCK_BYTES)


def read_exactly(stream: Readable, size: int) -> bytes:
    """Return `size` bytes; raise DataError where the stream ends before."""
    pieces, missing = [], size
    while missing:
        piece = stream.read(missing)
        if not piece:
            raise DataError("The archive ends in the middle", expected="a whole archive", fix="download it again")
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _header(block: bytes) -> tarfile.TarInfo | None:
    """Return what a header says; None for the block of zeros at the end."""
    if not any(block):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
    except UnicodeDecodeError:
        raise DataError("A member of the archive has a name that isn't valid UTF-8", fix="pack it anew") from None
    except (tarfile.HeaderError, ValueError) as error:
        raise DataError(f"The archive is damaged: {error}", expected="a tar archive", fix="download it again") from None


def _extra(header: tarfile.TarInfo, stream: Readable) -> dict[str, str]:
    """Read a long name, or pax attributes."""
    if not 0 <= header.size <= MOST_EXTRA_BYTES:
        raise DataError(
            f"A header of the archive has {header.size:,} bytes", expected=f"{MOST_EXTRA_BYTES:,} at most",
            fix="don't use this archive",
        )  # fmt: skip
    content = read_exactly(stream, header.size)
    read_exactly(stream, -header.size % BLOCK_BYTES)
    try:
        if header.type == tarfile.GNUTYPE_LONGNAME:
            return {"path": content.removesuffix(b"\0").decode()}
        return _pax(content)
    except (ValueError, IndexError):  # UnicodeDecodeError is a ValueError
        raise DataError(
            "A header of the archive can't be read", expected="a name, or pax attributes, in UTF-8", fix="pack it anew"
        ) from None


def _pax(content: bytes) -> dict[str, str]:
    """Return pax attributes: records `length key=value`, the length in decimal and of the whole record."""
    found: dict[str, str] = {}
    while content:
        length = int(content[: content.index(b" ")])
        record, content = content[:length], content[max(length, 1) :]
        key, equals, value = record[record.index(b" ") + 1 :].partition(b"=")
        if not equals or not value.endswith(b"\n"):
            raise ValueError("not a record")
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):  # all else is about owners, times, and others
            found[key.decode()] = value[:-1].decode()
    return found


def _member(header: tarfile.TarInfo, attributes: dict[str, str]) -> TarMember:
    name = attributes.get("path", header.name)
    folder = header.type == tarfile.DIRTYPE
    sparse = any(key.startswith("GNU.sparse") for key in attributes)
    if sparse or not (folder or header.type in FILES):
        kind = "a sparse file" if sparse else KINDS.get(header.type, f"of the unknown kind {header.type!r}")
        raise DataError(
            f"A member of the archive is {kind}: {shown_name(name)}", expected="regular files and folders",
            fix="pack the archive anew, with the files themselves (tar --dereference --hard-dereference)",
        )  # fmt: skip
    size = _size(header, attributes)
    return TarMember(name, folder, 0 if folder else size)


def _size(header: tarfile.TarInfo, attributes: dict[str, str]) -> int:
    given = attributes.get("size", str(header.size))
    if not (given.isascii() and given.isdigit() and len(given) <= 18):
        raise DataError(f"A member of the archive has the size {given[:30]!r}", fix="download the archive again")
    return int(given)
