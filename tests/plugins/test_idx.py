"""idx files are read in every form that they come in; nothing that a header claims is believed."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.settings import ImageFormat
from graftwork_plugins.idx import Idx
from tests.plugins.classic_files import idx, write_mnist

IMAGE = ImageFormat(size=28, channels=1)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8)
TRAIN = "train-images-idx3-ubyte"


def load(path: Path, keep: tuple[int, ...] | None = None, classes: tuple[str, ...] | None = None) -> RawImages:
    """Load a folder, or that of an idx file."""
    return Idx(keep, classes).load(path if path.is_dir() or "idx" not in path.name else path.parent, IMAGE)


def pair(folder: Path, images: bytes = idx(IMAGES), labels: bytes = idx(LABELS)) -> Path:
    """Write one pair without a split, and return the images file."""
    (folder / "digits-labels-idx1-ubyte").write_bytes(labels)
    (folder / "digits-images-idx3-ubyte").write_bytes(images)
    return folder / "digits-images-idx3-ubyte"


@pytest.mark.parametrize("packed", [True, False])
def test_a_folder_brings_training_and_test_images(tmp_path: Path, packed: bool) -> None:
    arrays = write_mnist(tmp_path, packed=packed)
    raw = load(tmp_path)
    assert raw.split is not None and raw.split.tolist() == ["train"] * 20 + ["test"] * 10
    assert np.array_equal(raw.images[:, 0], np.concatenate([arrays["x_train"], arrays["x_test"]]))
    assert np.array_equal(raw.labels, np.concatenate([arrays["y_train"], arrays["y_test"]]))
    assert raw.classes == tuple("0123456789") and raw.labels.dtype == np.int64
    raw.check("here")


def test_names_with_dots_are_known_too(tmp_path: Path) -> None:
    write_mnist(tmp_path, packed=False)
    whole = load(tmp_path)
    for file in list(tmp_path.iterdir()):
        file.rename(tmp_path / file.name.replace("-idx", ".idx"))
    assert np.array_equal(load(tmp_path).images, whole.images)


def test_an_unpacked_file_comes_before_its_gzip(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    write_mnist(tmp_path, packed=False)
    (tmp_path / f"{TRAIN}.gz").write_bytes(b"half a download")
    assert load(tmp_path).origin["files"][0] == TRAIN


def test_a_folders_only_pair_may_be_called_as_it_likes_and_has_no_split(tmp_path: Path) -> None:
    raw = load(pair(tmp_path))
    assert raw.split is None and raw.classes == ("0", "1", "2")
    assert np.array_equal(raw.images[:, 0], IMAGES)


def test_classes_may_have_names_and_some_may_be_kept(tmp_path: Path) -> None:
    raw = load(pair(tmp_path), keep=(2, 0), classes=("a", "b", "c"))
    assert raw.classes == ("c", "a")
    assert raw.labels.tolist() == [1, 0, 1, 0]


def test_letters_are_labelled_from_one(tmp_path: Path) -> None:
    path = pair(tmp_path, labels=idx(LABELS + 1))
    assert load(path).classes == ("1", "2", "3")
    named = load(path, classes=("a", "b", "c"))
    assert (named.classes, named.labels.tolist()) == (("a", "b", "c"), LABELS.tolist())
    named.check("here")


def test_too_few_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="The label 2 of image 2 is out of range"):
        load(pair(tmp_path), classes=("a", "b"))


@pytest.mark.parametrize("keep", [(0, 3), (-1, 0), (1, 1)])
def test_classes_to_keep_must_exist_once(tmp_path: Path, keep: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="don't exist, or one twice"):
        load(pair(tmp_path), keep)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (b"", "begins with nothing"),
        (b"<html>404</html>", "begins with 3c 68 74 6d"),
        (idx(LABELS), "begins with 00 00 08 01"),
        (b"\0\0\x0d\x03" + idx(IMAGES)[4:], "begins with 00 00 0d 03"),
        (idx(IMAGES)[:3], "ends after 3 bytes"),
        (idx(IMAGES)[:12], "ends after 12 bytes"),
        (idx(IMAGES)[:-1], "ends after 431 bytes"),
        (idx(IMAGES)[:16], "ends after 0 bytes"),
        (idx(IMAGES) + b"\0", "bytes behind the last one"),
        (idx(IMAGES[:0]), "The header says 0 × 8 × 9"),
        (idx(IMAGES[:5]), "5 images but 6 labels"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_not_whole_is_refused(tmp_path: Path, images: bytes, words: str, packed: bool) -> None:
    path = pair(tmp_path, images)
    if packed:
        path = path.rename(path.with_suffix(".gz").with_name(f"{path.name}.gz"))
        path.write_bytes(gzip.compress(images))
    with pytest.raises(DataError, match=words) as raised:
        load(path)
    assert str(path) in str(raised.value) and raised.value.fix


def test_one_file_is_refused_as_a_change_of_its_labels_would_go_unnoticed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="idx files come in pairs") as raised:
        Idx().load(pair(tmp_path), IMAGE)
    assert raised.value.fix.startswith(f"path: {tmp_path};")


@pytest.mark.parametrize("claimed", [2**31, 100_000])
def test_a_header_that_claims_too_much_costs_no_memory(tmp_path: Path, claimed: int) -> None:
    path = pair(tmp_path, struct.pack(">HBBIII", 0, 8, 3, claimed, 28, 28) + b"abc")
    tracemalloc.start()
    with pytest.raises(DataError, match=r"The header says|ends after 3 bytes"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize("content", [b"\x1f\x8b\x08", gzip.compress(idx(IMAGES))[:-20], b"no gzip at all"])
def test_a_broken_gzip_is_refused(tmp_path: Path, content: bytes) -> None:
    pair(tmp_path).unlink()
    path = tmp_path / "digits-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match="can't be read"):
        load(path)


def test_a_gzip_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    pair(tmp_path).unlink()
    path = tmp_path / "digits-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(struct.pack(">HBBIII", 0, 8, 3, 1_000_000, 28, 28) + bytes(1_000_000)))
    with pytest.raises(DataError, match="1,000,000 × 28 × 28 = 784,000,000 bytes") as raised:
        load(path)
    assert "at most 67,108,864" in raised.value.expected


def _nothing(folder: Path) -> Path:
    return folder / "not there"


def _other_file(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no idx")
    return folder / "notes.txt"


def _labels_alone(folder: Path) -> Path:
    pair(folder).unlink()
    return folder


def _two_others(folder: Path) -> Path:
    for file in (pair(folder), folder / "digits-labels-idx1-ubyte"):
        file.with_name(file.name.replace("digits", "letters")).write_bytes(file.read_bytes())
    return folder


def _images_alone(folder: Path) -> Path:
    path = pair(folder)
    path.with_name("digits-labels-idx1-ubyte").unlink()
    return path


def _no_training_set(folder: Path) -> Path:
    write_mnist(folder)
    for file in folder.glob("train*"):
        file.unlink()
    return folder


def _no_test_labels(folder: Path) -> Path:
    write_mnist(folder)
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    return folder


def _two_sets(folder: Path) -> Path:
    write_mnist(folder)
    for file in list(folder.glob("train*")):
        (folder / f"emnist-{file.name}").write_bytes(file.read_bytes())
    return folder


def _two_sizes(folder: Path) -> Path:
    write_mnist(folder, test=6)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES)))
    return folder


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_nothing, "are missing"),
        (_other_file, "is a file, and idx files come in pairs"),
        (_labels_alone, "The images of digits are missing"),
        (_two_others, "no training set: digits-images"),
        (_images_alone, "The labels of digits are missing"),
        (_no_training_set, "no training set: t10k-images"),
        (_no_test_labels, "The labels of t10k are missing"),
        (_two_sets, "several train sets: emnist-train-images.* and train-images"),
        (_two_sizes, "of 9×8 and 28×28 pixels"),
    ],
)
def test_folders_of_something_else_are_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    with pytest.raises(DataError, match=words):
        load(make(tmp_path))


def test_mnist_survives_the_round_trip(shared_data: Path, tmp_path: Path) -> None:
    with np.load(shared_data / "mnist.npz") as archive:
        for name, part in (("train", "train"), ("t10k", "test")):
            (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx(archive[f"x_{part}"]))
            (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx(archive[f"y_{part}"]))
        raw = load(tmp_path)
        assert np.array_equal(raw.images[:60_000, 0], archive["x_train"])
        assert np.array_equal(raw.labels[60_000:], archive["y_test"])
    raw.check("mnist")
    assert raw.images.shape == (70_000, 1, 28, 28)
