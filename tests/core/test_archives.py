"""An archive is unpacked whole, below its folder, within its limits; or not at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import resource
import signal
import stat
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from graftwork.archives import Limits, extract, is_archive
from graftwork.errors import DataError, Interrupted, StateError
from graftwork.member_names import Taken, checked_name
from graftwork.progress import Quiet

FILES = {"cats/1.txt": b"one", "cats/2.txt": b"two" * 1000, "dogs/ä.txt": b"", "top.txt": b"x" * 600}
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def zipped(path: Path, files: dict[str, bytes], **more: Any) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo("x")
            member.filename = name  # as it is, and not as zipfile would mend it
            member.compress_type = zipfile.ZIP_DEFLATED
            for key, value in more.items():
                setattr(member, key, value)
            archive.writestr(member, content)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w", format: int = tarfile.PAX_FORMAT, **more: Any) -> Path:
    packing = {"preset": more.pop("preset")} if "preset" in more else {}
    with tarfile.open(path, mode, format=format, **packing) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o7777
            for key, value in more.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(content))
    return path


PACKERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda path, files: tarred(path, files, "w:gz"),
    "tar.xz": lambda path, files: tarred(path, files, "w:xz", preset=0),
    "tar.bz2": lambda path, files: tarred(path, files, "w:bz2"),
    "gnu tar": lambda path, files: tarred(path, files, format=tarfile.GNU_FORMAT),
    "ustar": lambda path, files: tarred(path, files, format=tarfile.USTAR_FORMAT),
}


def refused(archive: Path, folder: Path, match: str, limits: Limits = Limits()) -> None:  # noqa: B008
    """Expect an error that names the archive, the old folder as it was, and nothing beside it."""
    folder.mkdir(exist_ok=True)
    (folder / "old").write_text("old")
    before = sorted(folder.parent.iterdir())
    with pytest.raises(DataError, match=match) as raised:
        extract(archive, folder, limits)
    assert raised.value.where == str(archive)
    assert sorted(folder.parent.iterdir()) == before and os.listdir(folder) == ["old"]


@pytest.mark.parametrize("kind", PACKERS)
def test_files_come_out_as_they_went_in(kind: str, tmp_path: Path) -> None:
    archive, folder = PACKERS[kind](tmp_path / "archive", FILES), tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("replaced")
    assert is_archive(archive)
    assert extract(archive, folder) == [folder / name for name in FILES]
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found == FILES
    assert sorted(os.listdir(tmp_path)) == ["archive", "folder"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_no_file_may_be_executed(kind: str, tmp_path: Path) -> None:
    if kind == "zip":
        archive = zipped(tmp_path / "archive", FILES, external_attr=(stat.S_IFREG | 0o7777) << 16)
    else:
        archive = tarred(tmp_path / "archive", FILES)
    assert all(not path.stat().st_mode & 0o7111 for path in extract(archive, tmp_path / "folder"))


@pytest.mark.parametrize("opener", [gzip.open, lzma.open, bz2.open])
def test_a_compressed_file_loses_its_ending(opener: Callable[..., Any], tmp_path: Path) -> None:
    with opener(tmp_path / "images-idx3.gz", "wb") as file:
        file.write(b"\0" * 3000)
    assert extract(tmp_path / "images-idx3.gz", tmp_path / "folder") == [tmp_path / "folder" / "images-idx3"]
    assert (tmp_path / "folder" / "images-idx3").read_bytes() == b"\0" * 3000


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_what_git_and_macos_add_are_read(format: int, tmp_path: Path) -> None:
    name = "/".join(["long" * 20] * 5) + "/ü.txt"
    with tarfile.open(tmp_path / "a.tar", "w", format=format, pax_headers={"comment": "a commit"}) as archive:
        for each in (".", "./sub", "./sub"):  # a folder may come again
            folder = tarfile.TarInfo(each)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        member = tarfile.TarInfo("./" + name)
        member.size, member.pax_headers = 3, {"LIBARCHIVE.xattr.x": "y", "mtime": "1.5"}
        archive.addfile(member, io.BytesIO(b"abc"))
    assert extract(tmp_path / "a.tar", tmp_path / "folder") == [tmp_path / "folder" / name]
    assert (tmp_path / "folder" / "sub").is_dir()


HARMFUL = {
    "../out": "leads out", "a/../../out": "leads out", "a/..": "leads out", "/etc/passwd": "is absolute",
    "C:/x": "is absolute", "c:x": "is absolute", "a\\b": "backslash", "..\\out": "backslash",
    "a\nb": "control character", "a\x1b[31m": "control character", "x" * 300: "too long",
    "/".join(["y" * 200] * 9): "too long", ".": "names no file",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["zip", "tar", "gnu tar"])
@pytest.mark.parametrize("name", HARMFUL, ids=lambda name: ascii(name[:20]))
def test_names_that_lead_elsewhere_are_refused(kind: str, name: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", {"good.txt": b"x", name: b"bad"})
    refused(archive, tmp_path / "folder", HARMFUL[name])
    assert not (tmp_path / "out").exists()


def test_a_nul_in_a_zips_name_does_not_end_it(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"good.png_.exe": b"x"})
    archive.write_bytes(archive.read_bytes().replace(b"png_", b"png\0"))
    refused(archive, tmp_path / "folder", "control character")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_are_not_utf_8_are_refused(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", {"xxxx": b"x"})
    content = archive.read_bytes()
    if kind == "tar":
        header = bytearray(content[:512])
        header[:2], header[148:156] = b"\xff\xfe", b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        archive.write_bytes(bytes(header) + content[512:])
    else:
        archive.write_bytes(content.replace(b"xxxx", b"\xff\xfexx"))
    refused(archive, tmp_path / "folder", "isn't valid UTF-8")


def test_a_zips_unmarked_name_is_read_as_utf_8(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"xx.txt": b"x"})  # as macOS writes them
    archive.write_bytes(archive.read_bytes().replace(b"xx.txt", "ä.txt".encode()))
    assert extract(archive, tmp_path / "folder") == [tmp_path / "folder" / "ä.txt"]


ALIKE = [("a/x", "A/x"), ("b.txt", "B.TXT"), ("a", "a/b"), ("a/b", "a"), ("\u00e9", "e\u0301")]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("pair", ALIKE, ids=ascii)
def test_names_that_are_one_on_some_system_are_refused(kind: str, pair: tuple[str, str], tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", {pair[0]: b"1", pair[1]: b"2"})
    refused(archive, tmp_path / "folder", "same name")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_comes_twice_is_refused(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", {"aa": b"", "bb": b""})
    content = archive.read_bytes()
    archive.write_bytes(content.replace(b"bb", b"aa") if kind == "zip" else content[:512] + content)
    refused(archive, tmp_path / "folder", "same name")


SPECIAL = [
    tarfile.SYMTYPE,
    tarfile.LNKTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.FIFOTYPE,
    tarfile.GNUTYPE_SPARSE,
    b"Z",
]


@pytest.mark.parametrize("kind", [*SPECIAL, b"Z"])
def test_a_tars_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    archive = tarred(tmp_path / "archive", {"link": b""}, type=kind, linkname="/etc/passwd")
    refused(archive, tmp_path / "folder", "A member of the archive is (a|of)")


def test_a_sparse_file_by_attributes_is_refused(tmp_path: Path) -> None:
    archive = tarred(tmp_path / "archive", {"x": b""}, pax_headers={"GNU.sparse.major": "1"})
    refused(archive, tmp_path / "folder", "sparse")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_a_zips_links_and_devices_are_refused(kind: int, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"link": b"/etc/passwd"}, external_attr=(kind | 0o777) << 16)
    refused(archive, tmp_path / "folder", "link or a device")


def test_an_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"x": b"x"})
    content = bytearray(archive.read_bytes())
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(magic) + offset] |= 1
    archive.write_bytes(content)
    refused(archive, tmp_path / "folder", "encrypted")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zips_unbounded_methods_are_refused(method: int, tmp_path: Path) -> None:
    refused(zipped(tmp_path / "archive", {"x": b"x"}, compress_type=method), tmp_path / "folder", "rare method")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz"])
def test_every_cap_holds_and_is_named(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", FILES)
    for cap in ({"most_members": 3}, {"most_bytes": 3000}, {"most_file_bytes": 2999}):
        refused(archive, tmp_path / "folder", f"exceeds {next(iter(cap))}", Limits(**cap))  # type: ignore[arg-type]
    assert extract(archive, tmp_path / "folder", Limits(most_members=4, most_bytes=3603, most_file_bytes=3000))


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_a_bomb_is_stopped_by_its_ratio(kind: str, tmp_path: Path) -> None:
    archive = PACKERS[kind](tmp_path / "archive", {"zeros": bytes(11_000_000)})
    refused(archive, tmp_path / "folder", "exceeds most_ratio")


def test_a_zip_that_claims_less_than_it_holds_is_damaged(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"x": bytes(5000)})
    archive.write_bytes(archive.read_bytes().replace((5000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refused(archive, tmp_path / "folder", "damaged")


def test_a_header_that_claims_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME):
        header = tarfile.TarInfo("x")
        header.type, header.size = kind, 8 * 10**9
        (tmp_path / "archive").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
        refused(tmp_path / "archive", tmp_path / "folder", "bytes")


def test_headers_without_end_are_refused(tmp_path: Path) -> None:
    header = tarfile.TarInfo("x")
    header.type = tarfile.XGLTYPE
    (tmp_path / "archive").write_bytes(header.tobuf() * 40 + bytes(1024))
    refused(tmp_path / "archive", tmp_path / "folder", "headers stand before")


@pytest.mark.parametrize("kind", PACKERS)
def test_an_archive_cut_anywhere_is_refused(kind: str, tmp_path: Path) -> None:
    archive, cut = PACKERS[kind](tmp_path / "archive", FILES), tmp_path / "cut"
    content = archive.read_bytes()
    end = len(content.rstrip(b"\0")) if kind in ("tar", "gnu tar", "ustar") else len(content)
    for length in {0, 1, 10, 511, 512, 1024, end // 2, end - 1} & set(range(end)):
        cut.write_bytes(content[:length])
        refused(cut, tmp_path / "folder", "a")


def test_a_flipped_bit_is_noticed_where_the_archive_has_checksums(tmp_path: Path) -> None:
    archive = zipped(tmp_path / "archive", {"x": bytes(range(256))}, compress_type=zipfile.ZIP_STORED)
    content = bytearray(archive.read_bytes())
    content[100] ^= 1
    archive.write_bytes(content)
    refused(archive, tmp_path / "folder", "damaged")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK", b"PK\3\4", b"\x1f\x8b", b"BZh9", b"<html>" * 200])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(content)
    refused(tmp_path / "archive", tmp_path / "folder", "isn't an archive|damaged|ends in the middle")


def test_a_missing_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        extract(tmp_path / "archive", tmp_path / "folder")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path) -> None:
    archive, folder = tarred(tmp_path / "archive", {"x": bytes(10**6)}, "w:gz"), tmp_path / "folder"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(StateError, match="disk is full"):
            extract(archive, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["archive"]


class Stopping(Quiet):
    def check(self) -> None:
        raise Interrupted("stop")


def test_unpacking_stops_when_asked_to(tmp_path: Path) -> None:
    with pytest.raises(Interrupted):
        extract(zipped(tmp_path / "archive", FILES), tmp_path / "folder", progress=Stopping())
    assert os.listdir(tmp_path) == ["archive"]


@QUICK
@given(
    st.text("aC./\\:\0\n~ é", max_size=12)
    | st.lists(st.sampled_from(["..", ".", "a", "", "C:", "\\", "~"])).map("/".join)
)
@example("..")
@example("\ud800")
def test_a_name_that_passes_lies_below_the_folder(name: str) -> None:
    root = PurePosixPath("/some/folder")
    try:
        path = checked_name(name, folder=False)
    except DataError as error:
        assert str(error).isprintable() or "\n" in str(error)
        return
    assert os.path.normpath(root / path) == str(root / path) and root in (root / path).parents
    assert "\0" not in str(path) and str(path).encode()


@QUICK
@given(st.lists(st.text("aAbB/ßẞé", min_size=1, max_size=5).filter(lambda name: name.strip("/"))))
def test_names_that_were_taken_never_collide_without_case(names: list[str]) -> None:
    taken, files = Taken(), []
    for name in names:
        path = PurePosixPath(name.strip("/"))
        try:
            taken.take(path, folder=False)
        except DataError:
            continue
        files.append(str(path))
    folded = [unicodedata.normalize("NFC", name).casefold() for name in files]
    assert len(set(folded)) == len(files)
    assert not any(one.startswith(two + "/") for one in folded for two in folded)


@QUICK
@given(kind=st.sampled_from(["zip", "tar", "gnu tar", "tar.gz"]), draw=st.data())
def test_damage_is_a_data_error_or_harmless(kind: str, draw: st.DataObject, tmp_path: Path) -> None:
    archive, folder = PACKERS[kind](tmp_path / "archive", FILES), tmp_path / "folder"
    content = bytearray(archive.read_bytes())
    for _ in range(draw.draw(st.integers(1, 4))):
        content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    archive.write_bytes(content)
    try:
        found = extract(archive, folder)
    except DataError:
        pass
    else:
        assert all(folder in path.parents and path.is_file() for path in found)
    assert set(os.listdir(tmp_path)) <= {"archive", "folder"}
