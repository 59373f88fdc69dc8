"""One look tells what several would, and decodes every image once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from graftwork.channel_statistics import from_sums, statistics
from graftwork.encoded_images import EncodedImages
from graftwork.errors import DataError
from graftwork.files import read_json, write_json
from graftwork.images import Indices, Pixels
from graftwork.looks import digests, look
from graftwork.near_duplicates import look_alikes
from graftwork.pixel_features import pixel_features
from graftwork.stages.cells import _budgets
from graftwork.thumbnails import SIDE, thumbnails
from tests.core.stages.test_augment import prepared
from tests.core.tiny_workspace import run

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (60, 3, 40, 40), dtype=np.uint8)
NUMBERS = np.arange(60)


def test_what_it_saw_is_what_a_look_at_the_images_says() -> None:
    images = IMAGES.copy()
    images[50:] = images[:10] // 2 + 60
    seen = look(images)
    assert seen.digests == digests(images) and len(set(seen.digests)) == 60
    assert seen.small.shape == (60, 3, SIDE, SIDE)
    assert np.array_equal(thumbnails(seen.small, NUMBERS, SIDE), thumbnails(images, NUMBERS, SIDE))
    chosen = np.array([3, 4, 17])
    assert seen.statistics(chosen) == statistics([images[chosen[:1]], images[chosen[1:]]])
    assert look_alikes(seen.small, NUMBERS[50:], NUMBERS[:50]) == look_alikes(images, NUMBERS[50:], NUMBERS[:50]) != []
    assert np.array_equal(pixel_features(seen.small, chosen), pixel_features(images, chosen))


def test_statistics_are_exact_where_sums_are_large() -> None:
    bright = np.full((2, 1, 2000, 2000), 255, dtype=np.uint8)
    bright[0, 0, 0, 0] = 254
    mean, std = statistics([bright] * 3)
    assert mean == [1.0] and std == [round(float(bright.std()) / 255, 6)]
    with pytest.raises(DataError, match="one flat colour"):
        look(bright).statistics(np.array([1]))


def test_a_channel_that_is_constant_becomes_zero_and_the_others_are_as_before() -> None:
    images = IMAGES.copy()
    images[:, 1] = 77
    mean, std = look(images).statistics(NUMBERS)
    whole_mean, whole_std = look(IMAGES).statistics(NUMBERS)
    assert mean == [whole_mean[0], round(77 / 255, 6), whole_mean[2]]
    assert std == [whole_std[0], round(1 / 255, 6), whole_std[2]]
    images[:, 0], images[:, 2] = 3, 200
    with pytest.raises(DataError, match="one flat colour"):
        look(images).statistics(NUMBERS)


def test_a_deviation_that_rounding_would_make_zero_is_not_divided_by() -> None:
    pixels = 10**14  # all 0, but for one that is 1
    assert from_sums(np.array([[1, 1]]), pixels) == ([0.0], [round(1 / 255, 6)])


def test_vectors_stay_where_they_are() -> None:
    vectors = RNG.random((9, 5, 1, 1)).astype(np.float32)
    seen = look(vectors)
    assert seen.small is vectors and seen.statistics(np.arange(4)) == statistics([vectors[:4]])


@pytest.mark.parametrize("selection", ["stratified", "k_center"])
def test_augmenting_decodes_every_image_once_but_for_the_samples(
    selection: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = prepared(tmp_path, [30, 30], storage="encoded", selection=selection, labels=20)
    decoded = watched(monkeypatch)
    run(context, ("augment", "target"))
    assert len(decoded) == 60 and decoded.total() <= 60 + 10


@pytest.mark.parametrize("duplicates", [0, 4])
def test_a_sweep_decodes_nothing_to_give_labels_and_leaves_out_the_same_duplicates(
    duplicates: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, _ = prepared(tmp_path, [30, 30], storage="encoded", duplicates="drop")
    with np.load(tmp_path / "target.npz") as stored:
        images, labels = stored["images"].copy(), stored["labels"]
    images[:duplicates] = images[10 : 10 + duplicates]
    np.savez(tmp_path / "target.npz", images=images, labels=labels)
    run(context, ("fetch", "target"), ("augment", "target"))
    card = read_json(context.layout.card("target"))
    assert bool(card["duplicates_dropped"]) == bool(duplicates) == ("dropped" in card)
    decoded = watched(monkeypatch)
    found = {budget: data.sha256() for budget, data in _budgets(context)}
    assert not decoded
    write_json(context.layout.card("target"), {**card, "dropped": [], "duplicates_dropped": -1})  # as if nobody knew
    assert {budget: data.sha256() for budget, data in _budgets(context)} == found
    assert len(decoded) == 60


def watched(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Return how often each image has been decoded, from now on."""
    decoded: Counter[int] = Counter()
    whole = EncodedImages.decode_into

    def counted(images: EncodedImages, numbers: Indices, pixels: Pixels) -> None:
        decoded.update(numbers.tolist())
        whole(images, numbers, pixels)

    monkeypatch.setattr(EncodedImages, "decode_into", counted)
    return decoded
