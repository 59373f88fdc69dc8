"""CIFAR's archives are read in both versions, and their pickles without ever being executed."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.cifar import Cifar
from graftwork_plugins.classic import members, plain_pickles
from graftwork_plugins.classic.cifar_versions import Grain
from graftwork_plugins.classic.plain_pickles import read_pickle
from tests.plugins.classic_files import (
    cifar10,
    cifar100,
    cifar_pixels,
    packed,
    python2,
    write_folder,
    write_tar,
    write_zip,
)

IMAGE = ImageFormat(size=32, channels=3)
VERSIONS = ["python", "binary"]
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def load(path: Path, keep: tuple[int, ...] | None = None, labels: Grain = "fine") -> RawImages:
    return Cifar(keep, labels).load(path, IMAGE)


def ten(version: str = "python", **changed: Any) -> dict[str, bytes]:
    """Return CIFAR-10's files, some of them changed; None leaves one out."""
    files = cifar10(version) | {name.replace("__", "."): content for name, content in changed.items()}
    return packed({name: content for name, content in files.items() if content is not None})


def test_the_tests_own_writer_makes_pickles_that_python_reads() -> None:
    for value in (*cifar10("python").values(), *cifar100("python").values()):
        back = pickle.loads(python2(value), encoding="latin1")
        assert back.keys() == value.keys()
        assert all(np.array_equal(back[key], value[key]) for key in value)


@pytest.mark.parametrize("version", VERSIONS)
def test_cifar_10_comes_with_its_split_and_names(tmp_path: Path, version: str) -> None:
    raw = load(write_folder(tmp_path, ten(version)))
    raw.check("here")
    assert raw.images.shape == (60, 3, 32, 32) and raw.classes == NAMES
    assert raw.split is not None and raw.split.tolist() == ["train"] * 50 + ["test"] * 10
    assert np.array_equal(raw.images[:10].reshape(10, -1), cifar_pixels(10, 0))
    assert np.array_equal(raw.images[50:].reshape(10, -1), cifar_pixels(10, 5))
    assert raw.labels[10:20].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("grain", ["fine", "coarse"])
def test_cifar_100_has_fine_and_coarse_classes(tmp_path: Path, version: str, grain: Grain) -> None:
    raw = load(write_folder(tmp_path, packed(cifar100(version))), labels=grain)
    raw.check("here")
    count = 100 if grain == "fine" else 20
    assert raw.classes == tuple(f"{grain} {number}" for number in range(count))
    assert raw.labels.tolist() == [number % count for number in range(100)] * 2
    assert np.array_equal(raw.images[100:].reshape(100, -1), cifar_pixels(100, 1))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("form", ["tar.gz", "tar", "zip", "folder around"])
def test_the_archive_itself_is_read_as_its_folder_is(tmp_path: Path, version: str, form: str) -> None:
    files = ten(version)
    whole = load(write_folder(tmp_path / "plain", files))
    inner = {"python": "cifar-10-batches-py", "binary": "cifar-10-batches-bin"}[version]
    named = {f"{inner}/readme.html": b"<p>"} | {f"{inner}/{name}": content for name, content in files.items()}
    if form == "folder around":
        path = write_folder(tmp_path / "around" / inner, files).parent
    elif form == "zip":
        path = write_zip(tmp_path / "cifar.zip", named)
    else:
        path = write_tar(tmp_path / "cifar", named, "w:gz" if form == "tar.gz" else "w")
    raw = load(path)
    assert np.array_equal(raw.images, whole.images) and np.array_equal(raw.labels, whole.labels)


def test_some_classes_may_be_kept(tmp_path: Path) -> None:
    raw = load(write_folder(tmp_path, ten()), keep=(9, 0))
    assert raw.classes == ("truck", "airplane")
    assert np.bincount(raw.labels).tolist() == [6, 6]


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_batches_that_python_3_pickled_are_read_too(tmp_path: Path, protocol: int) -> None:
    whole = load(write_folder(tmp_path / "2", ten()))
    again = {name: pickle.dumps(content, protocol) for name, content in cifar10("python").items()}
    raw = load(write_folder(tmp_path / "3", again))
    assert np.array_equal(raw.images, whole.images) and raw.classes == whole.classes


class Touch:
    """A pickle that makes a file when it is executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("place", ["data_batch_3", "batches__meta"])
def test_a_pickle_with_code_in_it_is_refused_and_does_nothing(tmp_path: Path, protocol: int, place: str) -> None:
    owned = tmp_path / "owned"
    evil = pickle.dumps({"labels": [1], "data": Touch(owned)}, protocol)
    path = write_tar(tmp_path / "cifar.tar.gz", ten(**{place: evil}))
    with pytest.raises(DataError, match=r"holds the name '(posix|nt)\.mkdir'; it was not executed"):
        load(path)
    assert not owned.exists()
    pickle.loads(evil)  # it would have
    assert owned.exists()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x02cos\nsystem\n(U\x02lstR.", r"the name 'os\.system'"),
        (b"\x80\x02cbuiltins\neval\n.", r"the name 'builtins\.eval'"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r"the name 'os\.system'"),
        (b"\x80\x02cnumpy\nload\n.", r"the name 'numpy\.load'"),
        (b"\x80\x02cnumpy\nndarray\n)R.", "a call of something that isn't a known constructor"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "the instruction NEWOBJ"),
        (b"(ios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02U\x01aQ.", "the instruction BINPERSID"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"\x80\x02}K\x01b.", "a state for something that has none"),
        (b"\x80\x02K\x01K\x02a.", "an int where a list belongs|a int where a list belongs"),
        (python2(np.zeros(4, dtype=np.uint8)).replace(b"\x88", b"").replace(b"u1", b"O8"), "an array that isn't"),
        (python2(np.zeros(4, dtype=np.uint8)).replace(b"(K\x04t", b"(K\x05t"), "an array that isn't"),
        (python2(np.zeros(4, dtype=np.uint8)).replace(b"(K\x04t", b"(J\xfc\xff\xff\xfft"), "an array that isn't"),
    ],
)
def test_what_these_files_never_hold_is_refused_by_name(content: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_pickle(content, "data_batch_1")


NESTED = b")" + b"\x85" * 200_000  # a tuple in a tuple in a tuple: its hash takes a stack that isn't there
DOUBLED = b")" + b"q\x00h\x00\x86" * 60  # a pair of pairs of pairs of one: its hash, or text, takes for ever
ENCODED = b"c_codecs\nencode\nq\x00X\xe8\x03\x00\x00" + b"a" * 1000 + b"q\x01X\x06\x00\x00\x00latin1q\x02"


HARMFUL: dict[str, tuple[bytes, str]] = {
    "nested key": (b"\x80\x02}" + NESTED + b"K\x01s.", "a tuple as a key"),
    "nested key among several": (b"\x80\x02}(K\x01K\x02" + NESTED + b"K\x01u.", "a tuple as a key"),
    "doubled key": (b"\x80\x02}" + DOUBLED + b"K\x01s.", "a tuple as a key"),
    "key of nothing": (b"\x80\x02}NK\x01s.", "a NoneType as a key"),
    "doubled module": (b"\x80\x04" + DOUBLED + b"\x8c\x01x\x93.", "a tuple where a str belongs"),
    "doubled name": (b"\x80\x04\x8c\x01x" + DOUBLED + b"\x93.", "a tuple where a str belongs"),
    "a text as bytes": (b"\x80\x02" + ENCODED + b"](" + b"h\x00h\x01h\x02\x86R" * 9 + b"e.", "one text as bytes so"),
    "many sides": (python2(np.zeros((1,) * 5, dtype=np.uint8)), "an array that isn't"),
}  # fmt: skip


@pytest.mark.parametrize("case", HARMFUL)
def test_what_would_hang_or_kill_whoever_reads_it_is_refused(case: str) -> None:
    content, words = HARMFUL[case]
    with pytest.raises(DataError, match=words):
        read_pickle(content, "data_batch_1")


def test_a_pickle_of_too_many_instructions_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_pickles, "MOST_INSTRUCTIONS", 100)
    assert read_pickle(b"\x80\x02(" + b"]" * 90 + b"t.", "data_batch_1")
    with pytest.raises(DataError, match="more than 100 instructions"):
        read_pickle(b"\x80\x02(" + b"]" * 99 + b"t.", "data_batch_1")


@pytest.mark.parametrize(
    "content",
    [
        b"", b".", b"\x80", b"\x80\x02", b"\x80\x02}", b"\x80\x02h\x07.", b"\x80\x02a.", b"\x80\x02u.", b"\x80\x02R.",
        b"\x80\x02(.u", b"\x80\x02}(K\x01u.", b"\x80\x02}](K\x01ee.", b"\x80\x02}]K\x01s.", b"\x80\x02\x87.",
        b"<html>404</html>", python2([1, 2])[:-1], b"\x80\x02T\xff\xff\xff\x7fabc.", b"\x80\x02T\xff\xff\xff\xffabc.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.", b"\x80\x02cnumpy\n", b"\x80\x02U\x01aq\x00r\xff.",
        b"\x80\x02N\x8a\xff.", b"b.", b"\x80\x02Nb.", b"\x80\x02(b.", b"q\x00.", b"\x80\x04\x93.", b"\x80\x02\x85.",
    ],
)  # fmt: skip
def test_damaged_pickles_are_refused(content: bytes) -> None:
    with pytest.raises(DataError, match="The pickle"):
        read_pickle(content, "data_batch_1")


def test_every_way_to_cut_a_batch_is_refused() -> None:
    content = python2({"labels": [1, 2], "data": np.zeros((2, 3), dtype=np.uint8), "filenames": ["a", "b"]})
    for end in range(len(content)):
        with pytest.raises(DataError):
            read_pickle(content[:end], "data_batch_1")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # pickletools, of altered names
def test_altered_pickles_are_read_or_refused() -> None:
    whole = python2({"labels": [1, 2], "data": np.zeros((2, 3), dtype=np.uint8), "filenames": ["a", "b"], "x": None})
    rng, refused = np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 1000):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        try:
            read_pickle(bytes(content), "data_batch_1")
        except DataError:
            refused += 1
    assert refused > 500


def batch(**changed: Any) -> dict[str, Any]:
    value: dict[str, Any] = {"labels": [0] * 10, "data": cifar_pixels(10, 0)}
    return value | changed


@pytest.mark.parametrize(
    ("version", "changed", "words"),
    [
        ("python", {"data_batch_2": None}, "Files are missing: data_batch_2"),
        ("python", {"batches__meta": None}, "Files are missing: batches.meta"),
        ("python", {"data_batch_2": b""}, "The pickle is damaged"),
        ("python", {"data_batch_2": [1, 2]}, "data_batch_2 holds a list"),
        ("python", {"data_batch_2": batch(labels=[0] * 9)}, "10 images and 9 labels"),
        ("python", {"data_batch_2": batch(labels=["a"] * 10)}, "data_batch_2 holds no labels"),
        ("python", {"data_batch_2": batch(labels=[True] * 10)}, "data_batch_2 holds no labels"),
        ("python", {"data_batch_2": batch(data=[1])}, "data_batch_2 holds no images"),
        ("python", {"data_batch_2": batch(data=cifar_pixels(10, 0)[:, 1:])}, "data_batch_2 holds no images"),
        ("python", {"data_batch_2": batch(labels=[0] * 9 + [10])}, "label 10 of image 9 in data_batch_2"),
        ("python", {"batches__meta": {"other": 1}}, "batches.meta holds other"),
        ("python", {"batches__meta": {"label_names": []}}, "batches.meta holds label_names"),
        ("binary", {"data_batch_2__bin": None}, "Files are missing: data_batch_2.bin"),
        ("binary", {"data_batch_2__bin": b""}, "data_batch_2.bin holds 0 bytes"),
        ("binary", {"data_batch_2__bin": bytes(3073 * 2 - 1)}, "data_batch_2.bin holds 6,145 bytes"),
        ("binary", {"data_batch_2__bin": b"\x0a" + bytes(3072)}, "label 10 of image 0 in data_batch_2.bin"),
        ("binary", {"batches__meta__txt": b"\n\n"}, "batches.meta.txt holds no names"),
    ],
)
def test_files_that_are_not_whole_are_refused(
    tmp_path: Path, version: str, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=words):
        load(write_folder(tmp_path, ten(version, **changed)))


def test_cifar_10_has_no_coarse_labels(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no coarse labels"):
        load(write_folder(tmp_path, ten()), labels="coarse")


def test_two_versions_in_one_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="These are the files of cifar-10-batches-py, cifar-10-batches-bin"):
        load(write_folder(tmp_path, ten("python") | ten("binary")))


def _nothing(folder: Path) -> Path:
    return folder / "not there"


def _other_tar(folder: Path) -> Path:
    return write_tar(folder / "other.tar.gz", {"photos/1.jpg": b"abc"})


def _other_zip(folder: Path) -> Path:
    return write_zip(folder / "other.zip", {"photos/1.jpg": b"abc"})


def _page(folder: Path) -> Path:
    (folder / "cifar.tar.gz").write_bytes(b"<html>404</html>" * 100)
    return folder / "cifar.tar.gz"


def _empty(folder: Path) -> Path:
    (folder / "cifar.tar.gz").write_bytes(b"")
    return folder / "cifar.tar.gz"


def _cut(folder: Path) -> Path:
    path = write_tar(folder / "cifar.tar.gz", ten())
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def _cut_zip(folder: Path) -> Path:
    path = write_zip(folder / "cifar.zip", ten())
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def _flipped_zip(folder: Path) -> Path:
    path = write_zip(folder / "cifar.zip", ten())
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    return path


def _links(folder: Path) -> Path:
    with tarfile.open(folder / "cifar.tar", "w") as tar:
        for name in ten():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/hostname"
            tar.addfile(info)
    return folder / "cifar.tar"


def _twice(folder: Path) -> Path:
    files = ten()
    return write_tar(folder / "cifar.tar.gz", files | {f"again/{name}": content for name, content in files.items()})


def _encrypted(folder: Path) -> Path:
    path = write_zip(folder / "cifar.zip", ten())
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, "CIFAR's files are missing"),
        (_other_tar, "None of CIFAR's files are here"),
        (_other_zip, "None of CIFAR's files are here"),
        (_page, "The archive can't be read"),
        (_empty, "The archive can't be read"),
        (_cut, "The archive can't be read"),
        (_cut_zip, "The archive can't be read"),
        (_flipped_zip, "The archive can't be read"),
        (_links, "None of CIFAR's files are here"),
        (_twice, "'data_batch_1' is there twice"),
        (_encrypted, "is encrypted"),
    ],
)
def test_archives_of_something_else_are_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(DataError, match=words) as raised:
        load(make(tmp_path))
    assert str(tmp_path) in str(raised.value) and raised.value.fix


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_altered_archives_are_refused_whatever_was_hit(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path]
) -> None:
    path = write(tmp_path / "cifar", {"data_batch_1": b"abc" * 100, "test_batch": b"d", "x": b"y"})
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(whole), 300):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        path.write_bytes(content)
        with pytest.raises(DataError):
            load(path)


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "cifar", ten() | {"zeros": bytes(3_000_000)})
    monkeypatch.setattr("graftwork_plugins.cifar.MOST_IN_ALL", 2_000_000)
    with pytest.raises(DataError, match="unpacks to too much") as raised:
        load(path)
    assert raised.value.expected == "at most 2,000,000 bytes"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_zip_whose_method_unpacks_all_at_once_is_refused(tmp_path: Path, method: int) -> None:
    with zipfile.ZipFile(tmp_path / "cifar.zip", "w", method) as archive:
        for name, content in ten().items():
            archive.writestr(name, content)
    with pytest.raises(DataError, match="rare method") as raised:
        load(tmp_path / "cifar.zip")
    assert raised.value.where == str(tmp_path / "cifar.zip")


@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_a_member_is_read_in_pieces(
    tmp_path: Path, write: Callable[[Path, dict[str, bytes]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(members, "CHUNK_BYTES", 7)
    path = write(tmp_path / "x", {"a": b"0123456789" * 3, "b": b""})
    for most, fine in ((30, True), (29, False)):
        with members.opened(path, 10**6) as found:
            if fine:
                assert [member.read(most) for member in found] == [b"0123456789" * 3, b""]
            else:
                with pytest.raises(DataError, match="'a' is too large"):
                    next(found).read(most)


def test_an_archive_of_too_many_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MOST_MEMBERS", 3)
    with pytest.raises(DataError, match="too many files"):
        load(write_tar(tmp_path / "cifar.tar.gz", ten()))


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_a_file_that_is_too_large_is_refused(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_tar(tmp_path / "cifar", ten()) if form == "tar" else write_folder(tmp_path / "cifar", ten())
    monkeypatch.setattr("graftwork_plugins.cifar.MOST_BYTES", 30_000)
    with pytest.raises(DataError, match="is too large") as raised:
        load(path)
    assert "at most 30,000" in raised.value.expected


def test_a_member_may_lie_about_its_size(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("data_batch_1", bytes(100))
    content = bytearray(stream.getvalue())
    place = content.index(b"PK\x01\x02") + 24
    content[place : place + 4] = (2**31).to_bytes(4, "little")
    (tmp_path / "cifar.zip").write_bytes(content)
    with pytest.raises(DataError):
        load(tmp_path / "cifar.zip")
