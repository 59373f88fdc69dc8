"""The origin `url`: one pinned file, unpacked when it is an archive."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from graftwork.desk import Desk
from graftwork.errors import DataError
from graftwork.registry import Registry
from graftwork_plugins.origins.url import Url
from tests.core.server import Served, Server


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def a_zip(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"{name}/0.png", content)
    return buffer.getvalue()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def fetched(site: Server, desk: Desk) -> Url:
    return Url(site.url("/sets/pets.zip?key=KEY"), sha256(site.files["/sets/pets.zip"].body), allow_private=True)


def test_an_archive_is_fetched_and_unpacked(site: Server, desk: Desk, folder: Path) -> None:
    site.files["/sets/pets.zip"] = Served(a_zip(cats=b"1", dogs=b"2"))
    url = fetched(site, desk)
    told = url.obtain(folder, desk)
    assert names(folder) == ["cats/0.png", "dogs/0.png"]
    assert told == {
        "url": site.url("/sets/pets.zip?…"), "sha256": url.sha256, "file": "pets.zip", "unpacked_files": 2,
    }  # fmt: skip
    assert [path.suffix for path in desk.partial.iterdir()] == [".lock"]  # nothing else is left


@pytest.mark.parametrize(("name", "extract", "unpacked"), [
    ("a.zip", None, 1), ("a.zip", False, 0), ("a.npz", None, 0), ("a.npz", True, 1), ("a", None, 0), ("A.ZIP", None, 1),
])  # fmt: skip
def test_the_name_tells_whether_to_unpack_unless_told(
    name: str, extract: bool | None, unpacked: int, site: Server, desk: Desk, folder: Path
) -> None:
    content = a_zip(cats=b"1")
    site.files["/x"] = Served(content)
    told = Url(site.url("/x"), sha256(content), extract, name, allow_private=True).obtain(folder, desk)
    assert told["unpacked_files"] == unpacked
    assert names(folder) == (["cats/0.png"] if unpacked else [name])


def test_an_npz_stays_one(site: Server, desk: Desk, folder: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, images=np.zeros((2, 4, 4), np.uint8))
    site.files["/x.npz"] = Served(buffer.getvalue())
    Url(site.url("/x.npz"), sha256(buffer.getvalue()), allow_private=True).obtain(folder, desk)
    assert np.load(folder / "x.npz")["images"].shape == (2, 4, 4)


def test_without_a_checksum_it_is_told_and_the_file_not_fetched_twice(site: Server, desk: Desk, folder: Path) -> None:
    content = b"some file"
    site.files["/x.bin"] = Served(content)
    with pytest.raises(DataError, match=f"add under origins: sha256: {sha256(content)}"):
        Url(site.url("/x.bin"), allow_private=True).obtain(folder, desk)
    assert names(folder) == []
    Url(site.url("/x.bin"), sha256(content), allow_private=True).obtain(folder, desk)
    assert (folder / "x.bin").read_bytes() == content and len(site.requests) == 1


def test_a_checksum_that_was_not_copied_right_fetches_again(site: Server, desk: Desk, folder: Path) -> None:
    site.files["/x.bin"] = Served(b"some file")
    for given in (None, "0" * 64):
        with pytest.raises(DataError, match=sha256(b"some file")):
            Url(site.url("/x.bin"), given, allow_private=True).obtain(folder, desk)
    assert names(folder) == [] and len(site.requests) == 2


def test_the_mirror_is_looked_in_by_the_files_name(site: Server, desk: Desk, folder: Path) -> None:
    assert desk.mirror is not None
    (desk.mirror / "own.bin").write_bytes(b"mirrored")
    Url("https://example.org/x", sha256(b"mirrored"), name="own.bin").obtain(folder, desk)
    assert (folder / "own.bin").read_bytes() == b"mirrored"


def test_offline_it_says_what_to_put_where(desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    with pytest.raises(DataError, match=r"x\.zip isn't in the mirror") as raised:
        Url("https://example.org/sets/x.zip", "0" * 64).obtain(folder, desk)
    assert raised.value.exit_code == 3 and str(desk.mirror) in str(raised.value)


def test_a_harmful_archive_leaves_nothing(site: Server, desk: Desk, folder: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("fine"))
        archive.addfile(tarfile.TarInfo("../out"))
    site.files["/x.tar.gz"] = Served(buffer.getvalue())
    with pytest.raises(DataError, match="leads out"):
        Url(site.url("/x.tar.gz"), sha256(buffer.getvalue()), allow_private=True).obtain(folder, desk)
    assert names(folder.parent) == []


def test_private_addresses_need_leave(site: Server, desk: Desk, folder: Path) -> None:
    with pytest.raises(DataError, match="isn't public"):
        Url(site.url("/x"), "0" * 64).obtain(folder, desk)
    assert not site.requests


@pytest.mark.parametrize("settings", [
    {"url": "file:///etc/passwd"}, {"url": "https://h/x", "sha256": "abc"}, {"url": "https://h/x", "name": "a/b"},
    {"url": "https://h/x", "name": ".."}, {"url": "https://h/x", "most_bytes": 0}, {"url": "https://h/%2e%2e"},
    {"url": "https://h/x", "extracts": True}, {"url": "https://h/x", "name": "a\nb"},
])  # fmt: skip
def test_settings_that_cannot_work_are_refused_before_the_run(settings: dict[str, object]) -> None:
    registry = Registry()
    registry.origin("url", Url)
    with pytest.raises(ValidationError):
        registry.plugins["origin", "url"].create(settings)
