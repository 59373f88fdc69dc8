"""Encoded images look like an array, keep their bytes, and are decoded only when they are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from graftwork.encoded_images import EncodedImages, pack, packed, unpack
from graftwork.errors import DataError
from graftwork.settings import ImageFormat
from tests.core.pictures import FORMAT, decoded, encoded, pictures

WHOLE = decoded(pictures(20))


@pytest.mark.parametrize(
    "indices",
    [slice(None), slice(3, 15, 4), slice(5, 5), 7, -1, [4, 4, 0], np.array([19, 2]), np.arange(20) % 3 == 1],
    ids=str,
)
def test_they_are_indexed_as_an_array_is(indices: object) -> None:
    found, expected = encoded()[indices], WHOLE[indices]  # type: ignore[index]
    assert np.array_equal(found, expected) and found.dtype == expected.dtype and found.shape == expected.shape


def test_they_tell_the_shape_that_they_are_decoded_to() -> None:
    images = encoded(5, ImageFormat(size=12, channels=1))
    assert len(images) == 5 and images.shape == (5, 1, 12, 12) == images[:].shape and images.dtype == np.uint8


def test_files_and_bytes_are_decoded_alike(tmp_path: Path) -> None:
    files = [tmp_path / str(number) for number in range(8)]
    for file, stored in zip(files, pictures(8), strict=True):
        file.write_bytes(stored)
    assert np.array_equal(EncodedImages(files, FORMAT)[:], WHOLE[:8])


def test_what_is_packed_keeps_its_bytes_and_comes_back_without_being_read(tmp_path: Path) -> None:
    assert not packed(tmp_path)
    pack(tmp_path, encoded())
    assert packed(tmp_path) and (tmp_path / "images.bin").read_bytes() == b"".join(pictures(20))
    back = unpack(tmp_path)
    assert [back.encoded(number) for number in range(20)] == pictures(20)
    assert back.shape == encoded().shape and np.array_equal(back[:], WHOLE)


def test_some_are_taken_and_taken_from_still_encoded(tmp_path: Path) -> None:
    some = encoded().take(np.array([9, 3, 12])).take(np.array([2, 0]))
    assert np.array_equal(some[:], WHOLE[[12, 9]])
    pack(tmp_path, some)
    assert (tmp_path / "images.bin").read_bytes() == pictures(20)[12] + pictures(20)[9]


def test_only_what_is_asked_for_is_read() -> None:
    class Watched(list[bytes]):
        def __getitem__(self, number: int) -> bytes:  # type: ignore[override]
            asked.append(number)
            return super().__getitem__(number)

    asked: list[int] = []
    images = EncodedImages(Watched(pictures(20)), FORMAT)
    assert len(images.take(np.arange(10))) == 10 and images.shape[0] == 20 and asked == []
    images[[3, 5]]
    assert sorted(asked) == [3, 5]


def test_one_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not an image") as raised:
        EncodedImages([*pictures(3), b"<html>"], FORMAT)[:]
    assert raised.value.where == "image 3, counted from 0"
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match="empty file") as raised:
        EncodedImages([tmp_path / "empty.jpg"], FORMAT)[0]
    assert raised.value.where == str(tmp_path / "empty.jpg")
