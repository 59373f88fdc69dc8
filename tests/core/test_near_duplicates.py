"""Look-alikes are found through compression, brightness and size, and resemblance alone is none."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from graftwork import near_duplicates as module
from graftwork.images import Pixels
from graftwork.near_duplicates import look_alikes, phash


def photos(count: int, size: int = 32, seed: int = 0) -> Pixels:
    """Return smooth noise of little colour (count, 3, size, size), no two alike."""
    rng = np.random.default_rng(seed)
    coarse = (rng.integers(0, 220, (count, 8, 8, 1)) + rng.integers(0, 36, (count, 1, 1, 3))).astype(np.uint8)
    big = [np.asarray(Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC)) for one in coarse]
    return np.ascontiguousarray(np.stack(big).transpose(0, 3, 1, 2))


def jpeg(images: Pixels, quality: int = 75) -> Pixels:
    found = []
    for image in images:
        stored = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(stored, "JPEG", quality=quality)
        found.append(np.asarray(Image.open(stored)).transpose(2, 0, 1))
    return np.stack(found)


def resized(images: Pixels) -> Pixels:
    small = [Image.fromarray(image.transpose(1, 2, 0)).resize((20, 20)) for image in images]
    return np.stack([np.asarray(one.resize((32, 32), Image.Resampling.BICUBIC)).transpose(2, 0, 1) for one in small])


def brighter(images: Pixels) -> Pixels:
    return np.clip(images * 0.8 + 40, 0, 255).astype(np.uint8)


def found_of(held: Pixels, train: Pixels) -> dict[int, int]:
    images = np.concatenate([train, held])
    numbers = np.arange(len(images))
    found = look_alikes(images, numbers[len(train) :], numbers[: len(train)])
    assert [one.correlation for one in found] == sorted((one.correlation for one in found), reverse=True)
    return {one.image - len(train): one.train for one in found}


@pytest.mark.parametrize("change", [jpeg, resized, brighter])
def test_what_was_stored_anew_is_found_with_its_original(change: Callable[[Pixels], Pixels]) -> None:
    train = photos(60)
    held = np.concatenate([photos(20, seed=1), change(train[10:30])])
    assert found_of(held, train) == {20 + place: 10 + place for place in range(20)}


def test_other_images_of_the_same_kind_are_not_taken_for_the_same() -> None:
    rows = np.arange(28)[:, None] + np.zeros(28)[None]
    silhouettes = np.stack([np.where(abs(rows - 14) < 4 + k, 200, 0) for k in range(6)]).astype(np.uint8)[:, None]
    assert found_of(silhouettes[:3], silhouettes[3:]) == {}
    assert found_of(np.full((2, 1, 8, 8), 7, np.uint8), np.full((3, 1, 8, 8), 9, np.uint8)) == {}, "flat images"


def test_every_pair_is_compared_whatever_the_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    train, whole = photos(30), found_of(jpeg(photos(30)), photos(30))
    assert len(whole) == 30
    monkeypatch.setattr(module, "CELLS", 31)
    assert found_of(jpeg(train), train) == whole


def test_the_bits_tell_low_frequencies_and_no_brightness() -> None:
    images = photos(20)
    assert phash(images).dtype == np.uint64 and len(np.unique(phash(images))) == 20
    dim = (images // 2) * 2
    assert np.array_equal(phash(dim // 2), phash(dim)), "half as bright, to the bit"


def test_where_all_are_alike_each_is_told_once_and_memory_stays_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    same = np.repeat(photos(1), 400, axis=0)
    same[:, 0, 0, 0] = np.arange(400) % 256
    monkeypatch.setattr(module, "MOST_CANDIDATES", 3)
    assert len(found_of(same[:100], same[100:])) == 100


def test_vectors_have_no_look_alikes() -> None:
    vectors = np.ones((6, 9, 1, 1), dtype=np.float32)
    assert look_alikes(vectors, np.arange(3), np.arange(3, 6)) == []


def test_of_the_real_cifar_100_one_test_image_looks_like_a_training_image(shared_data: Path) -> None:
    with np.load(shared_data / "cifar100_small.npz") as archive:
        train, test = (archive[name].transpose(0, 3, 1, 2) for name in ("x_train", "x_test"))
        labels = archive["y_train"], archive["y_test"]
    ((held, known),) = found_of(test, train).items()
    assert labels[0][known] == labels[1][held]
