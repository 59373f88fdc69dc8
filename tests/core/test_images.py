"""Images keep their meaning through changes of size and channels; sets that can't be learnt are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graftwork.engine import Normalise
from graftwork.errors import DataError, StateError
from graftwork.images import RawImages, conform
from graftwork.settings import ImageFormat
from graftwork.storage import load_split, save_split
from tests.core.tiny import CONTRACT, MACHINE

NOISE = np.random.default_rng(0).integers(0, 256, (5, 3, 12, 12), dtype=np.uint8)


def labelled(labels: list[int], classes: tuple[str, ...] = ("a", "b")) -> RawImages:
    return RawImages(np.zeros((len(labels), 1, 2, 2), np.uint8), np.array(labels, dtype=np.int64), classes)


def test_what_has_the_format_already_stays_to_the_bit() -> None:
    assert np.array_equal(conform(NOISE, ImageFormat(size=12, channels=3)), NOISE)


def test_colour_becomes_grey_as_pillow_says() -> None:
    grey = conform(NOISE, ImageFormat(size=12, channels=1))[:, 0].astype(int)
    pillows = np.stack([np.asarray(Image.fromarray(i.transpose(1, 2, 0)).convert("L")) for i in NOISE]).astype(int)
    assert np.abs(grey - pillows).max() <= 1


def test_grey_becomes_three_equal_channels() -> None:
    colour = conform(NOISE[:, :1], ImageFormat(size=12, channels=3))
    assert np.array_equal(colour, NOISE[:, [0, 0, 0]])


@pytest.mark.parametrize(("height", "width"), [(12, 12), (9, 30), (40, 16)])
def test_resizing_keeps_a_flat_colour_and_makes_a_square(height: int, width: int) -> None:
    flat = np.full((2, 3, height, width), 77, np.uint8)
    assert np.array_equal(conform(flat, ImageFormat(size=8, channels=3)), np.full((2, 3, 8, 8), 77, np.uint8))


def test_of_a_wide_image_the_middle_is_kept() -> None:
    wide = np.zeros((1, 1, 8, 24), np.uint8)
    wide[..., 8:16] = 200
    assert (conform(wide, ImageFormat(size=8, channels=1)) == 200).all()


def test_many_images_resize_as_each_alone() -> None:
    many = np.random.default_rng(0).integers(0, 256, (1030, 1, 9, 9), dtype=np.uint8)
    image = ImageFormat(size=8, channels=1)
    together = conform(many, image)
    assert np.array_equal(together[[0, 515, 1029]], np.concatenate([conform(many[[i]], image) for i in (0, 515, 1029)]))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (labelled([0, 1, 2]), "label 2 of image 2 is out of range"),
        (labelled([0, -1, 1]), "label -1 of image 1 is out of range"),
        (labelled([0, 0]), "class 'b' has no images"),
        (labelled([0, 0], ("a",)), "one class only: 'a'"),
        (labelled([], ()), "no classes"),
        (RawImages(np.zeros((2, 1, 2, 2), np.uint8), np.array([0]), ("a", "b")), "2 images but 1 labels"),
    ],
)
def test_labels_that_can_not_be_learnt_are_refused(raw: RawImages, words: str) -> None:
    with pytest.raises(DataError, match=words):
        raw.check("here")


def test_a_split_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save_split(tmp_path, NOISE, np.arange(5))
    loaded = load_split(tmp_path)
    assert np.array_equal(loaded.images.numpy(), NOISE) and loaded.labels.tolist() == list(range(5))


def test_a_damaged_or_missing_split_is_an_error_of_the_workspace(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="can't be read"):
        load_split(tmp_path)
    save_split(tmp_path, NOISE, np.arange(5))
    (tmp_path / "images.npy").write_bytes((tmp_path / "images.npy").read_bytes()[:-1])
    with pytest.raises(StateError, match="can't be read"):
        load_split(tmp_path)


def test_normalising_is_scaling_less_the_mean_over_the_deviation_and_spares_the_images() -> None:
    images = torch.from_numpy(NOISE[:, :1].copy())
    normalised = Normalise(CONTRACT, MACHINE)(images)
    expected = (images.double() / 255 - CONTRACT.mean[0]) / CONTRACT.std[0]
    torch.testing.assert_close(normalised, expected.float())
    assert np.array_equal(images.numpy(), NOISE[:, :1])
