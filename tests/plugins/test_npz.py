"""Archives of arrays are read in both layouts, and whatever isn't images with labels is refused."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.recognition import recognise
from graftwork.settings import ImageFormat
from graftwork_plugins import npz_files
from graftwork_plugins.npz import Npz

IMAGE = ImageFormat(size=8, channels=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write an archive: images and labels unless told otherwise."""

    def save(**arrays: Any) -> Path:
        np.savez(tmp_path / "data.npz", **{"images": IMAGES, "labels": LABELS} | arrays)
        return tmp_path / "data.npz"

    return save


def load(path: Path, keep: tuple[int, ...] | None = None) -> RawImages:
    return Npz(keep).load(path, IMAGE)


def test_images_with_labels_are_read(write: Write) -> None:
    raw = load(write())
    assert np.array_equal(raw.images[:, 0], IMAGES)
    assert raw.labels.tolist() == LABELS.tolist() and raw.labels.dtype == np.int64
    assert (raw.classes, raw.split) == (("0", "1", "2"), None)


def test_colour_comes_last_in_the_file_and_first_in_memory(write: Write) -> None:
    colour = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), dtype=np.uint8)
    images = load(write(images=colour)).images
    assert images.shape == (6, 3, 8, 9)
    assert np.array_equal(images[:, 2], colour[..., 2])


def test_training_and_test_images_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x_train=IMAGES[:4], y_train=LABELS[:4], x_test=IMAGES[4:], y_test=LABELS[4:])
    raw = load(path)
    assert np.array_equal(raw.images[:, 0], IMAGES)
    assert raw.split is not None and raw.split.tolist() == ["train"] * 4 + ["test"] * 2


def test_training_and_test_images_must_be_of_one_size(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez(path, x_train=IMAGES[:4], y_train=LABELS[:4], x_test=IMAGES[4:, :7], y_test=LABELS[4:])
    with pytest.raises(DataError, match=r"\(1, 8, 9\), test images \(1, 7, 9\)"):
        load(path)


def test_classes_may_have_names(write: Write) -> None:
    assert load(write(classes=np.array(["shirt", "bag", "<b>"]))).classes == ("shirt", "bag", "<b>")


def test_kept_classes_are_renumbered_in_the_order_asked_for(write: Write) -> None:
    raw = load(write(classes=np.array(["a", "b", "c"])), keep=(2, 0))
    assert raw.classes == ("c", "a")
    assert raw.labels.tolist() == [1, 0, 1, 0]
    assert np.array_equal(raw.images[:, 0], IMAGES[[0, 2, 3, 5]])


@pytest.mark.parametrize("keep", [(0, 3), (-1, 0), (1, 1)])
def test_classes_to_keep_must_exist_once(write: Write, keep: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="don't exist, or one twice"):
        load(write(), keep)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": IMAGES / 255}, "The images are float64"),
        ({"images": IMAGES.astype(np.int64)}, "The images are int64"),
        ({"images": IMAGES[0]}, r"shape \(8, 9\)"),
        ({"images": IMAGES[:, None]}, r"shape \(6, 1, 8, 9\)"),
        ({"images": IMAGES[:0]}, r"shape \(0, 8, 9, 1\)"),
        ({"labels": LABELS / 1}, "The labels are float64"),
        ({"labels": np.eye(6, 3, dtype=np.int64)}, "The labels are int64"),
        ({"labels": np.array(list("abcabc"))}, "The labels are <U1"),
    ],
)
def test_arrays_of_another_kind_are_refused(write: Write, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(write(**arrays))


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, -1], [0, 1, 2, 0, 1, 3]])
def test_labels_out_of_range_are_refused(write: Write, labels: list[int]) -> None:
    with pytest.raises(DataError, match="of image 5 is out of range"):
        load(write(labels=np.array(labels), classes=np.array(["a", "b", "c"]))).check("here")


def test_objects_are_refused_and_never_unpickled(write: Write, tmp_path: Path) -> None:
    owned = tmp_path / "owned"

    class Payload:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (owned,))

    with pytest.raises(DataError, match="can't be read") as raised:
        load(write(labels=np.array([Payload()] * 6, dtype=object)))
    assert "arrays of objects are refused" in raised.value.fix
    assert not owned.exists()


def test_an_archive_of_something_else_says_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", pixels=IMAGES, labels=LABELS)
    with pytest.raises(DataError, match="The archive holds pixels, labels"):
        load(tmp_path / "data.npz")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x04N."])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match="can't be read"):
        load(tmp_path / "data.npz")


def test_altered_archives_are_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, images=IMAGES, labels=LABELS)
    whole, rng, refused = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(0, len(whole), 300):
        content = bytearray(whole)
        content[place] ^= rng.integers(1, 256)
        path.write_bytes(content)
        try:
            load(path)
        except DataError:
            refused += 1
    assert refused > 100


def header(shape: tuple[int, ...], kind: str = "|u1") -> bytes:
    """Return the beginning of an .npy file that claims so many values."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def claiming(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED, **others: bytes) -> Path:
    """Write an archive with these bytes in place of the array `images`."""
    labels = io.BytesIO()
    np.save(labels, LABELS)
    with zipfile.ZipFile(path / "data.npz", "w", method) as archive:
        for name, stored in ({"images": content, "labels": labels.getvalue()} | others).items():
            archive.writestr(f"{name}.npy", stored)
    return path / "data.npz"


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((10**12, 28, 28), "|u1"), ((10**12, 0), "<f4"), ((10**12,), "<U0"), ((-(10**6), -(10**6)), "|u1")],
)
def test_a_header_that_claims_more_than_there_is_room_for_is_refused(
    tmp_path: Path, shape: tuple[int, ...], kind: str
) -> None:  # fmt: skip
    with pytest.raises(DataError, match="With 'images', .* the archive unpacks to") as raised:
        load(claiming(tmp_path, header(shape, kind)))
    assert raised.value.expected == "at most 67,108,864 bytes"


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    zeros = header((70, 1 << 20)) + bytes(70 << 20)
    path = claiming(tmp_path, zeros)
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to 73,400,320 bytes"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_arrays_are_counted_together(tmp_path: Path) -> None:
    half = header((40, 1 << 20)) + bytes(40 << 20)
    with pytest.raises(DataError, match="With 'more', .* unpacks to 83,886,"):
        load(claiming(tmp_path, half, more=half))


def test_what_is_packed_little_may_be_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMALL_BYTES", "MOST_BYTES"):
        monkeypatch.setattr(npz_files, name, 100)
    path = tmp_path / "data.npz"
    np.savez(path, images=IMAGES, labels=LABELS)
    assert load(path).labels.tolist() == LABELS.tolist()
    np.savez_compressed(path, images=np.zeros((99, 40, 40), np.uint8), labels=LABELS)
    with pytest.raises(DataError, match="the archive unpacks to"):
        load(path)


def test_a_header_without_end_is_not_read_to_it(tmp_path: Path) -> None:
    endless = b"\x93NUMPY\x02\x00" + (2**32 - 1).to_bytes(4, "little") + bytes(32 << 20)
    path = claiming(tmp_path, endless, x_train=endless)
    tracemalloc.start()
    with pytest.raises(DataError, match="can't be read"):
        load(path)
    assert recognise(path) == "npz"
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_unpacks_all_at_once_is_refused(tmp_path: Path, method: int) -> None:
    with pytest.raises(DataError, match="rare method"):
        load(claiming(tmp_path, header((1,)), method))


def test_members_that_are_no_arrays_are_passed_over(write: Write) -> None:
    path = write()
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "what it is")
    assert len(load(path).labels) == 6


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (np.array("cat"), r"The array 'classes' is <U3 of shape \(\)"),
        (np.array([["a"], ["b"], ["c"]]), r"<U1 of shape \(3, 1\)"),
        (np.array([0.5, 1.5, 2.5]), "'classes' is float64"),
        (np.array([b"caf\xe9", b"a", b"b"]), "'classes' isn't UTF-8"),
        (np.array(["cat", "cat", "dog"]), "hard to tell apart: 'cat' .* and 'cat'"),
        (np.array(["cat", "Cat", "dog"]), "hard to tell apart"),
    ],
)
def test_classes_that_are_no_names_are_refused(write: Write, classes: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(write(classes=classes))


@pytest.mark.parametrize("classes", [["é", "a", "b"], ["é".encode(), b"a", b"b"], [7, 8, 9]])
def test_classes_may_be_texts_bytes_or_numbers(write: Write, classes: list[Any]) -> None:
    expected = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in classes)
    assert load(write(classes=np.array(classes))).classes == expected


def test_a_label_beyond_the_images_is_refused_before_classes_are_counted(write: Write) -> None:
    with pytest.raises(DataError, match="The label 4000000000 of image 2 is out of range: there are 6 images"):
        load(write(labels=np.array([0, 1, 4 * 10**9, 0, 1, 2])))


def test_a_single_array_is_no_archive(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", IMAGES)
    with pytest.raises(DataError, match="can't be read"):
        load(tmp_path / "data.npy")


def test_a_missing_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        load(tmp_path / "data.npz")


def test_mnist_is_what_everybody_knows(shared_data: Path) -> None:
    raw = load(shared_data / "mnist.npz")
    raw.check("mnist")
    assert raw.split is not None
    assert [(raw.split == name).sum() for name in ("train", "test")] == [60_000, 10_000]
    assert raw.labels[:5].tolist() == [5, 0, 4, 1, 9] and raw.labels[60_000:60_005].tolist() == [7, 2, 1, 0, 4]
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(raw.labels[:60_000]).tolist() == counts
    assert raw.images[:60_000].mean() / 255 == pytest.approx(0.1307, abs=1e-4)
