"""Small versions are means over areas, and features of pixels are principal components."""

from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from graftwork import pixel_features as module
from graftwork import thumbnails as thumbnails_module
from graftwork.pixel_features import pixel_features
from graftwork.thumbnails import thumbnails

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 3, 24, 24), dtype=np.uint8)


def test_a_thumbnail_holds_the_mean_of_each_area() -> None:
    means = IMAGES[[4, 1]].reshape(2, 3, 8, 3, 8, 3).mean(axis=(3, 5))
    assert np.array_equal(thumbnails(IMAGES, np.array([4, 1]), 8), np.rint(means).astype(np.uint8))


def test_areas_that_cut_through_pixels_keep_the_mean_and_small_images_stay_as_they_are() -> None:
    odd = RNG.random((3, 1, 7, 5)).astype(np.float32)
    small = thumbnails(odd, np.arange(3), 4)
    assert small.shape == (3, 1, 4, 4) and small.dtype == np.float32
    assert small.mean(axis=(1, 2, 3)) == pytest.approx(odd.mean(axis=(1, 2, 3)), rel=1e-5)
    assert np.array_equal(thumbnails(odd, np.arange(3), 9), odd)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = thumbnails(IMAGES, np.arange(50), 5)
    features = pixel_features(IMAGES, np.arange(50))
    monkeypatch.setattr(thumbnails_module, "BLOCK_BYTES", 1)
    monkeypatch.setattr(module, "BLOCK", 7)
    assert np.array_equal(thumbnails(IMAGES, np.arange(50), 5), whole)
    assert np.abs(pixel_features(IMAGES, np.arange(50))) == pytest.approx(np.abs(features), abs=1e-2)


def test_features_are_centred_uncorrelated_and_the_same_again() -> None:
    features = pixel_features(IMAGES, np.arange(40))
    assert features.shape == (40, 64) and features.dtype == np.float32
    assert np.abs(features.mean(axis=0)).max() < 1e-4
    covariance = np.cov(features.T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-3 * covariance.max()
    assert np.array_equal(features, pixel_features(IMAGES, np.arange(40)))


def test_blas_threads_decide_no_bit_of_the_features() -> None:
    images = RNG.integers(0, 256, (300, 3, 24, 24), dtype=np.uint8)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            found.append(pixel_features(images, np.arange(300)))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_vectors_keep_their_distances_in_units_of_each_feature() -> None:
    vectors = (RNG.normal(size=(30, 6)) * [1, 10, 100, 1e3, 1e4, 1e5]).astype(np.float32)[:, :, None, None]
    vectors[:, 5] = 3.0  # one that doesn't vary says nothing
    found = pixel_features(vectors, np.arange(30))
    scaled = vectors[:, :5, 0, 0] / vectors[:, :5, 0, 0].std(axis=0)
    apart = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    assert np.linalg.norm(found[:, None] - found[None], axis=2) == pytest.approx(apart, abs=1e-3)
