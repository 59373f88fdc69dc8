"""The origin `huggingface`: Parquet files of one commit, from a hub that is a server of this machine."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graftwork.desk import Desk
from graftwork.errors import DataError
from graftwork.settings import ImageFormat
from graftwork_plugins.origins.huggingface import CONVERTED, HuggingFace
from tests.core.server import Served, Server

COMMIT, OTHER = "a1" * 20, "b2" * 20


@pytest.fixture(autouse=True)
def hub(site: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_ENDPOINT", site.address)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


def offer(
    site: Server, files: dict[str, bytes], revision: str = COMMIT, commit: str = COMMIT, lfs: bool = True
) -> None:
    """Let the server offer a repository's files as the hub does."""
    siblings: list[dict[str, Any]] = []
    for name, content in files.items():
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        siblings.append({"rfilename": name, "size": len(content), "blobId": blob})
        if lfs:
            digest = hashlib.sha256(content).hexdigest()
            siblings[-1]["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
        site.files[f"/datasets/someone/pets/resolve/{commit}/{name}"] = Served(b"", location=f"/cdn/{name}")
        site.files[f"/cdn/{name}"] = Served(content, headers={"ETag": '"one"'})
    info = {"id": "someone/pets", "sha": commit, "siblings": siblings, "cardData": {"license": "mit"}}
    place = f"/api/datasets/someone/pets/revision/{revision.replace('/', '%2F')}"
    site.files[place] = Served(json.dumps(info).encode(), headers={"Content-Type": "application/json"})


def marked(content: bytes) -> bytes:
    """Return what begins and ends as Parquet does."""
    return b"PAR1" + content + bytes(4) + b"PAR1"


PETS = HuggingFace("someone/pets", COMMIT, allow_private=True)


def test_the_files_are_named_after_their_splits(site: Server, desk: Desk, folder: Path) -> None:
    files = {
        "README.md": b"#", "data/train-00000-of-00002.parquet": b"1", "data/train-00001-of-00002.parquet": b"2",
        "default/test/0000.parquet": b"3",
    }  # fmt: skip
    offer(site, files)
    told = PETS.obtain(folder, desk)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "train-00000-of-00002.parquet": b"1", "train-00001-of-00002.parquet": b"2", "test-0000.parquet": b"3",
    }  # fmt: skip
    assert told["revision"] == COMMIT and told.keys() == {"repository", "revision", "files"}
    assert told["files"]["test-0000.parquet"] == {
        "path": "default/test/0000.parquet", "sha256": hashlib.sha256(b"3").hexdigest(),
    }  # fmt: skip
    json.dumps(told)


def test_what_came_is_read_by_the_table_plugin(site: Server, desk: Desk, folder: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    from PIL import Image

    from graftwork_plugins.table import Table

    buffer, files = io.BytesIO(), {}
    Image.new("RGB", (4, 4), "red").save(buffer, "PNG")
    for split in ("train", "test"):
        out = io.BytesIO()
        pictures = [{"bytes": buffer.getvalue(), "path": "x.png"}] * 2
        parquet.write_table(pyarrow.table({"image": pictures, "label": [0, 1]}), out)
        files[f"default/{split}/0000.parquet"] = out.getvalue()
    offer(site, files)
    PETS.obtain(folder, desk)
    raw = Table().load(folder, ImageFormat(size=4, channels=3))
    assert len(raw.images) == 4 and raw.split is not None and set(raw.split) == {"train", "test"}


@pytest.mark.parametrize("lfs", [True, False])
def test_bytes_of_another_file_are_refused(lfs: bool, site: Server, desk: Desk, folder: Path) -> None:
    offer(site, {"train.parquet": b"good"}, lfs=lfs)
    site.files["/cdn/train.parquet"] = Served(b"evil")
    with pytest.raises(DataError, match="isn't the one"):
        PETS.obtain(folder, desk)
    assert list(folder.iterdir()) == []


def test_a_file_kept_in_git_itself_has_gits_checksum(site: Server, desk: Desk, folder: Path) -> None:
    offer(site, {"train.parquet": b"good"}, lfs=False)
    PETS.obtain(folder, desk)
    assert (folder / "train.parquet").read_bytes() == b"good"


def test_patterns_choose_among_configurations(site: Server, desk: Desk, folder: Path) -> None:
    offer(site, {f"{name}/train/0.parquet": name.encode() for name in ("big", "small")})
    with pytest.raises(DataError, match=r"train-0\.parquet: big/train/0\.parquet and small/"):
        PETS.obtain(folder, desk)
    replace(PETS, files=("small/*",)).obtain(folder, desk)
    assert (folder / "train-0.parquet").read_bytes() == b"small"


@pytest.mark.parametrize("revision", [None, "main", "v1.0"])
def test_a_revision_that_may_move_is_refused_and_commits_are_told(
    revision: str | None, site: Server, desk: Desk, folder: Path
) -> None:
    offer(site, {}, revision=revision or "main")
    offer(site, {}, revision=CONVERTED, commit=OTHER)
    with pytest.raises(DataError, match=f"{COMMIT}.*{OTHER} \\({CONVERTED}\\)"):
        replace(PETS, revision=revision).obtain(folder, desk)


def test_without_parquet_files_the_hubs_own_conversion_is_named(site: Server, desk: Desk, folder: Path) -> None:
    offer(site, {"images.zip": b"PK"})
    offer(site, {}, revision=CONVERTED, commit=OTHER)
    with pytest.raises(DataError, match=f"revision: {OTHER} is the hub's own conversion"):
        PETS.obtain(folder, desk)


def test_an_unknown_repository_is_told(desk: Desk, folder: Path) -> None:
    with pytest.raises(DataError, match="doesn't tell of someone/pets") as raised:
        PETS.obtain(folder, desk)
    assert "HF_TOKEN" in raised.value.fix


def test_a_hub_on_this_machine_needs_leave(site: Server, desk: Desk, folder: Path) -> None:
    with pytest.raises(DataError, match="isn't public"):
        replace(PETS, allow_private=False).obtain(folder, desk)
    assert not site.requests


def test_the_mirrors_folder_of_the_commit_needs_no_network(
    site: Server, desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.mirror is not None
    monkeypatch.setenv("GRAFTWORK_OFFLINE", "1")
    with pytest.raises(DataError, match=rf"someone/pets/{COMMIT}/\*\.parquet isn't in the mirror"):
        PETS.obtain(folder, desk)
    mirrored = desk.mirror / "someone" / "pets" / COMMIT / "data"
    mirrored.mkdir(parents=True)
    (mirrored / "train-0.parquet").write_bytes(marked(b"mirrored"))
    told = PETS.obtain(folder, desk)
    assert (folder / "train-0.parquet").read_bytes() == marked(b"mirrored") and not site.requests
    assert told["files"]["train-0.parquet"]["sha256"] == hashlib.sha256(marked(b"mirrored")).hexdigest()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"train-00000-of-00003.parquet": b"1"}, "train-00001-of-00003.parquet is missing, data/train-00002-of-00003"),
        ({"train-00001-of-00002-0a.parquet": b"1", "test.parquet": b"2"}, "train-00000-of-00002-0a.parquet is missing"),
        ({"train.parquet": None}, "train.parquet isn't a whole Parquet file"),
    ],
)
def test_a_part_of_a_data_set_or_junk_in_the_mirror_is_refused(
    files: dict[str, bytes | None], words: str, site: Server, desk: Desk, folder: Path
) -> None:
    assert desk.mirror is not None
    mirrored = desk.mirror / "someone" / "pets" / COMMIT / "data"
    mirrored.mkdir(parents=True)
    for name, content in files.items():
        (mirrored / name).write_bytes(b"junk" if content is None else marked(content))
    with pytest.raises(DataError, match=words):
        PETS.obtain(folder, desk)
    assert list(folder.iterdir()) == [] and not site.requests
    (mirrored / next(iter(files))).write_bytes(marked(b"1")[:-1])
    with pytest.raises(DataError, match="isn't a whole Parquet file"):
        PETS.obtain(folder, desk)


def test_of_numbered_files_those_that_were_asked_for_must_be_there(site: Server, desk: Desk, folder: Path) -> None:
    assert desk.mirror is not None
    mirrored = desk.mirror / "someone" / "pets" / COMMIT
    mirrored.mkdir(parents=True)
    for number in (0, 2):
        (mirrored / f"train-{number:05}-of-00003.parquet").write_bytes(marked(b"%d" % number))
    asked = HuggingFace("someone/pets", COMMIT, ("train-00002-*",))
    assert list(asked.obtain(folder, desk)["files"]) == ["train-00002-of-00003.parquet"]


def test_mirror_and_hub_are_told_of_equally(site: Server, desk: Desk, folder: Path) -> None:
    assert desk.mirror is not None
    offer(site, {"data/train-0.parquet": marked(b"1"), "data-more/test-0.parquet": marked(b"2")})
    fetched = PETS.obtain(folder, desk)
    for told in fetched["files"].values():
        mirrored = desk.mirror / "someone" / "pets" / COMMIT / told["path"]
        mirrored.parent.mkdir(parents=True)
        mirrored.write_bytes(marked(b"1" if "train" in told["path"] else b"2"))
    site.requests.clear()
    assert PETS.obtain(folder, desk) == fetched and not site.requests


def test_a_broken_download_goes_on(site: Server, desk: Desk, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graftwork.downloads._wait", lambda seconds, progress: None)
    offer(site, {"train.parquet": b"x" * 5000})
    site.files["/cdn/train.parquet"].cut_after = [1000]
    PETS.obtain(folder, desk)
    assert "bytes=1000-" in site.asked("Range")


@pytest.mark.parametrize("name", ["../train.parquet", "/train.parquet", "a\\train.parquet"])
def test_a_hub_cannot_write_elsewhere(name: str, site: Server, desk: Desk, folder: Path) -> None:
    offer(site, {name: b"x"})
    with pytest.raises(DataError, match="has a name that"):
        PETS.obtain(folder, desk)
