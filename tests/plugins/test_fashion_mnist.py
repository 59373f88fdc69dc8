"""The embedded data is the known file, and nothing else passes for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from graftwork.errors import DataError
from graftwork.files import sha256_of_file
from graftwork.settings import ImageFormat
from graftwork_plugins.fashion_mnist import EMBEDDED, SHA256, FashionMNIST

IMAGE = ImageFormat(size=28, channels=1)
SOURCE = (0, 2, 5, 8, 9)
COUNTS = {"train": (1800, 150), "test": (200, 600)}


def test_the_embedded_file_is_the_one_that_is_documented() -> None:
    assert sha256_of_file(EMBEDDED) == SHA256
    assert any("LICEN" in file.name.upper() for file in EMBEDDED.parent.iterdir())


def test_the_counts_are_those_of_the_docstring() -> None:
    raw = FashionMNIST().load(EMBEDDED, IMAGE)
    raw.check("embedded")
    assert raw.images.shape == (13_750, 1, 28, 28)
    assert raw.split is not None and raw.origin["licence"] == "MIT"
    for part, (source, target) in COUNTS.items():
        counts = np.bincount(raw.labels[raw.split == part])
        assert counts.tolist() == [source if label in SOURCE else target for label in range(10)]


def test_kept_classes_come_with_their_names_and_all_their_images() -> None:
    whole = FashionMNIST().load(EMBEDDED, IMAGE)
    some = FashionMNIST((5, 1)).load(EMBEDDED, IMAGE)
    assert some.classes == (whole.classes[5], whole.classes[1])
    assert np.bincount(some.labels).tolist() == [2000, 750]
    assert np.array_equal(some.images[some.labels == 0], whole.images[whole.labels == 5])


def test_an_altered_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "fashion_mnist.npz"
    shutil.copy(EMBEDDED, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="isn't the embedded subset") as raised:
        FashionMNIST().load(path, IMAGE)
    assert SHA256[:12] in raised.value.expected


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="missing"):
        FashionMNIST().load(tmp_path / "fashion_mnist.npz", IMAGE)


@pytest.mark.parametrize("part", COUNTS)
def test_each_split_is_the_start_of_the_real_one(shared_data: Path, part: str) -> None:
    raw = FashionMNIST().load(EMBEDDED, IMAGE)
    with np.load(shared_data / "fashion_mnist.npz") as archive:
        images, labels = archive[f"x_{part}"], archive[f"y_{part}"]
    for label in range(10):
        expected = images[labels == label][: COUNTS[part][label not in SOURCE]]
        assert np.array_equal(raw.images[(raw.labels == label) & (raw.split == part), 0], expected)
