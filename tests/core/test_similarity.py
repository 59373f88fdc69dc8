"""Linear CKA knows features that were turned, and the Fréchet distance features that were moved or stretched."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg import sqrtm

from graftwork.similarity import frechet_distance, linear_cka

Array = NDArray[np.float64]


def normal(rows: int, width: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(rows, width))


def rotation(width: int, seed: int) -> Array:
    return np.asarray(np.linalg.qr(normal(width, width, seed))[0])


@given(st.integers(0, 1000), st.floats(1e-3, 1e3), st.integers(2, 20), st.integers(1, 20))
@settings(max_examples=30, deadline=None)
def test_turned_scaled_and_moved_features_are_alike(seed: int, scale: float, rows: int, width: int) -> None:
    features = normal(rows, width, seed)
    assert linear_cka(features, features @ rotation(width, seed) * scale + 5) == pytest.approx(1, abs=1e-9)
    assert linear_cka(features, features * scale) <= 1


@pytest.mark.parametrize(("rows", "width", "other_width"), [(40, 5, 8), (10, 5, 30), (10, 30, 30)])
def test_cka_is_the_alignment_of_centred_kernels(rows: int, width: int, other_width: int) -> None:
    x, y = normal(rows, width), normal(rows, other_width, seed=1) + normal(rows, 1)
    centring = np.eye(rows) - 1 / rows
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    expected = np.trace(k @ m) / math.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert 0 < expected < 0.99
    assert linear_cka(x, y) == pytest.approx(expected, rel=1e-9)
    assert linear_cka(y, x) == pytest.approx(expected, rel=1e-9)


def test_features_without_correlation_are_unlike() -> None:
    assert linear_cka(np.array([[1], [-1], [1], [-1]]), np.array([[1], [1], [-1], [-1]])) == 0


@pytest.mark.parametrize(("rows", "width"), [(50, 6), (5, 20)])
def test_equal_sets_are_at_distance_0_and_moved_ones_at_the_squared_shift(rows: int, width: int) -> None:
    features, shift = normal(rows, width), np.linspace(-1, 1, width)
    assert frechet_distance(features, features[::-1]) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(features, features + shift) == pytest.approx(float(shift @ shift), rel=1e-9)


def test_a_stretch_counts_by_the_difference_of_the_deviations() -> None:
    features = normal(40, 1)
    assert frechet_distance(features, 3 * features) == pytest.approx(
        4 * features.mean() ** 2 + 4 * features.var(ddof=1), rel=1e-9
    )


def test_the_frechet_distance_is_that_of_the_matrix_square_root() -> None:
    x, y = normal(60, 5), normal(45, 5, seed=1) @ normal(5, 5, seed=2) + 0.3
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    expected += np.trace(first + second - 2 * sqrtm(first @ second).real)
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(y, x) == pytest.approx(expected, rel=1e-9)


def test_dead_columns_leave_both_as_they_are() -> None:
    x, y = normal(20, 4), normal(20, 4, seed=1)
    padded = np.insert(x, 2, 0.0, axis=1), np.insert(y, 2, 0.0, axis=1)
    assert linear_cka(*padded) == pytest.approx(linear_cka(x, y), rel=1e-9)
    assert frechet_distance(*padded) == pytest.approx(frechet_distance(x, y), rel=1e-9)


def test_tensors_compare_as_arrays_and_give_floats() -> None:
    x, y = normal(20, 4), normal(20, 4, seed=1)
    for measure in (linear_cka, frechet_distance):
        assert type(measure(x, y)) is float
        assert measure(torch.tensor(x, requires_grad=True), torch.tensor(y)) == measure(x, y)
        assert measure(torch.tensor(x).bfloat16(), y) == measure(torch.tensor(x).bfloat16().double(), y)


def test_what_can_not_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="found 3 rows of features and 4 of others"):
        linear_cka(normal(3, 2), normal(4, 2))
    with pytest.raises(ValueError, match="rows that differ"):
        linear_cka(normal(3, 2), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="features have 2, others 3"):
        frechet_distance(normal(4, 2), normal(4, 3))
    with pytest.raises(ValueError, match="at least 2 rows a side, found 4 and 1"):
        frechet_distance(normal(4, 2), normal(1, 2))
    with pytest.raises(ValueError, match="others must be finite: 1 of 2 rows"):
        frechet_distance(normal(2, 2), np.array([[0, 1], [np.nan, 0]]))
    with pytest.raises(ValueError, match=r"features must be a matrix .* found shape \(3,\)"):
        linear_cka(np.arange(3.0), normal(3, 2))
