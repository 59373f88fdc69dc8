"""Each selection keeps what it promises: nested budgets, every class, and its own idea of a good choice."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from graftwork.errors import DataError
from graftwork.images import RawImages
from graftwork.registry import load_plugins
from graftwork.selection import Features, Selector
from graftwork.settings import DataSettings, Use
from graftwork.splits import label_budgets, split_images

REGISTRY = load_plugins()
NAMES = tuple(plugin.name for plugin in REGISTRY.named("selection"))


def selection(name: str) -> Any:
    return REGISTRY.create("selection", Use.model_validate(name))


def order(name: str, labels: NDArray[np.int64], features: Features, seed: int = 0) -> list[int]:
    found: Iterable[int] = selection(name).order(labels, lambda: features, np.random.default_rng(seed))
    return [int(number) for number in found]


def clouds(counts: list[int], seed: int = 0, dimensions: int = 5) -> tuple[NDArray[np.int64], Features]:
    """Return labels in mixed order, and points around a centre of each class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return labels, rng.normal(size=(len(counts), dimensions))[labels] * 2 + rng.normal(size=(len(labels), dimensions))


def radius(points: Features, chosen: Iterable[int]) -> float:
    """Return the largest distance of a point to the nearest chosen one."""
    return float(np.linalg.norm(points[:, None] - points[list(chosen)][None], axis=2).min(axis=1).max())


def raw(counts: list[int], size: int = 8) -> RawImages:
    """Return noise, `counts` of each class, brighter for later classes."""
    rng = np.random.default_rng(1)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    noise = rng.integers(0, 120, (len(labels), 1, size, size)) + (100 * labels / len(counts))[:, None, None, None]
    return RawImages(noise.astype(np.uint8), labels, tuple(f"class {label}" for label in range(len(counts))))


def data(name: str, labels: int | None) -> DataSettings:
    return DataSettings(
        dataset=Use.model_validate("npz"), path="x", validation=0.2, test=0.2, augmentation=(), image=None,
        storage="auto", labels=labels, selection=Use.model_validate(name),
    )  # fmt: skip


def chosen(images: RawImages, name: str, labels: int, seed: int = 0) -> set[int]:
    splits = split_images(images, data(name, labels), seed, "here", Selector(selection(name)))
    return set(splits.train.tolist())


def test_the_bundled_selections_are_there() -> None:
    assert NAMES == ("herding", "k_center", "random", "stratified")


@pytest.mark.parametrize("name", NAMES)
@given(st.lists(st.integers(1, 12), min_size=2, max_size=5), st.integers(0, 100))
@settings(max_examples=15, deadline=None)
def test_every_image_comes_once_and_the_first_k_are_of_k_classes(name: str, counts: list[int], seed: int) -> None:
    labels, points = clouds(counts, seed)
    found = order(name, labels, points, seed)
    assert sorted(found) == list(range(sum(counts)))
    assert set(labels[found[: len(counts)]]) == set(range(len(counts)))
    assert order(name, labels, points, seed) == found


@pytest.mark.parametrize("name", NAMES)
def test_budgets_of_a_run_are_nested_and_leave_validation_and_test_alone(name: str) -> None:
    images = raw([40, 30, 10])
    smaller: set[int] = set()
    for budget in (3, 10, 25):
        found = chosen(images, name, budget)
        assert len(found) == budget and smaller < found and found == chosen(images, name, budget)
        assert set(images.labels[list(found)]) == {0, 1, 2}
        smaller = found
    plain = split_images(images, data("stratified", None), 0, "here", Selector(selection("stratified")))
    mine = split_images(images, data(name, 10), 0, "here", Selector(selection(name)))
    assert np.array_equal(plain.test, mine.test) and np.array_equal(plain.validation, mine.validation)


@pytest.mark.parametrize("name", NAMES)
def test_budgets_of_a_sweep_are_nested_and_the_first_of_their_class(name: str) -> None:
    images = raw([40, 30, 20])
    found = label_budgets(images, data(name, None), 0, [1, 4, 8], "here", Selector(selection(name)))
    for budget, numbers in found.items():
        assert np.bincount(images.labels[numbers]).tolist() == [budget] * 3
    assert set(found[1]) < set(found[4]) < set(found[8])


@pytest.mark.parametrize("name", NAMES)
def test_fewer_labels_than_classes_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="labels: 2 is less than one for each of the 3 classes"):
        chosen(raw([20, 20, 20]), name, 2)


def test_stratified_is_to_the_bit_what_it_was_before_there_was_a_choice() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), [30, 20, 10]))
    images = np.arange(60, dtype=np.uint32).view(np.uint8).reshape(-1, 1, 2, 2).copy()
    old = RawImages(images, labels, ("a", "b", "c"))
    pinned = {4, 5, 21, 24, 31, 33, 36, 45, 47, 53, 56, 57}
    assert chosen(old, "stratified", 12, seed=3) == pinned
    budgets = label_budgets(old, data("stratified", None), 3, [1, 3], "here", Selector(selection("stratified")))
    assert [found.tolist() for found in budgets.values()] == [[53, 56, 57], [4, 6, 21, 31, 36, 45, 53, 56, 57]]


@pytest.mark.parametrize("seed", range(5))
def test_k_center_leaves_nothing_farther_than_random_does(seed: int) -> None:
    labels, points = clouds([60, 50, 40], seed)
    for size, rank in ((10, 10), (20, 0), (40, 0)):  # below most, then below the luckiest of 20 draws
        mine = radius(points, order("k_center", labels, points)[:size])
        assert mine < sorted(radius(points, order("random", labels, points, draw)[:size]) for draw in range(20))[rank]


@given(st.integers(0, 10_000), st.integers(3, 5))
@settings(max_examples=25, deadline=None)
def test_k_centers_radius_is_at_most_twice_the_least_from_where_it_starts(seed: int, size: int) -> None:
    """Gonzalez's bound, with the classes' first images given: Sener & Savarese's initial pool."""
    labels, points = clouds([6, 4], seed, dimensions=2)
    found = order("k_center", labels, points)
    start, rest = found[:2], set(range(10)) - set(found[:2])
    best = min(radius(points, [*start, *more]) for more in combinations(rest, size - 2))
    assert radius(points, found[:size]) <= 2 * best + 1e-9


def test_k_centers_radius_is_at_most_twice_the_least_of_all_on_a_line() -> None:
    points = np.array([0.0, 1, 2, 10, 11, 12, 20, 21, 30, 31])[:, None]
    labels = np.array([0, 1] * 5)
    found = order("k_center", labels, points)
    for size in (2, 3, 4, 5):
        best = min(radius(points, some) for some in combinations(range(10), size))
        assert radius(points, found[:size]) <= 2 * best


def test_k_center_takes_doubles_last() -> None:
    points = np.array([[0.0], [0], [0], [5], [5], [9]])
    assert sorted(order("k_center", np.array([0, 1, 0, 1, 0, 1]), points)[:3]) in ([0, 3, 5], [1, 3, 5], [2, 3, 5])


@pytest.mark.parametrize("seed", range(5))
def test_herdings_means_are_nearer_to_the_classes_than_randoms(seed: int) -> None:
    labels, points = clouds([60, 60], seed)

    def error(numbers: list[int]) -> float:
        mine = np.isin(np.arange(len(labels)), numbers)
        return sum(
            float(np.linalg.norm(points[mine & (labels == label)].mean(axis=0) - points[labels == label].mean(axis=0)))
            for label in (0, 1)
        )

    for size in (8, 16, 32):
        random = [error(order("stratified", labels, points, draw)[:size]) for draw in range(20)]
        assert error(order("herding", labels, points)[:size]) < min(random)


def test_herding_is_icarls_algorithm_4() -> None:
    labels, points = clouds([9, 7], 3)
    herded = order("herding", labels, points)
    for label in (0, 1):
        members = np.flatnonzero(labels == label)
        mean, taken = points[members].mean(axis=0), []
        while len(taken) < len(members):
            left = [number for number in members if number not in taken]
            taken.append(min(left, key=lambda x: np.linalg.norm(mean - points[[*taken, x]].mean(axis=0))))
        assert [number for number in herded if labels[number] == label] == taken


def test_a_choice_of_few_costs_few_steps() -> None:
    labels, points = clouds([3000, 3000], dimensions=64)
    rng = np.random.default_rng(0)
    for name in ("k_center", "herding"):
        assert len(list(islice(selection(name).order(labels, lambda: points, rng), 10))) == 10


@pytest.mark.parametrize("name", NAMES)
def test_blas_threads_decide_no_choice(name: str) -> None:
    noise = raw([150, 150], size=24)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, user_api="blas"):
            order = Selector(selection(name)).order(
                noise.images, noise.labels, np.arange(300), np.random.default_rng(0)
            )
            found.append(list(islice(order, 60)))
    assert found[0] == found[1] == found[2]
