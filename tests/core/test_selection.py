"""What a selection answers is checked; classes are brought to the front, and merged in proportion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from graftwork.errors import PluginError
from graftwork.images import Images, Indices, Labels
from graftwork.selection import Features, Selector, every_class_first, interleaved

IMAGES = np.zeros((20, 1, 8, 8), dtype=np.uint8)


@dataclass(frozen=True)
class Fixed:
    """Answers with the numbers it was given."""

    numbers: tuple[int, ...]

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterable[int]:
        return self.numbers


def order(numbers: tuple[int, ...], chosen: tuple[int, ...] = (4, 7, 9)) -> list[int]:
    labels = np.zeros(len(chosen), dtype=np.int64)
    return list(Selector(Fixed(numbers)).order(IMAGES, labels, np.array(chosen), np.random.default_rng(0)))


def test_places_become_the_numbers_of_the_images() -> None:
    assert order((2, 0, 1)) == [9, 4, 7]


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((0, 0, 1), "image 0 twice"),
        ((0, 3), "image 3 of 3"),
        ((0, -1), "image -1 of 3"),
        ((0, 1), "gives 2 of 3 images"),
    ],
)
def test_an_order_that_is_none_is_refused_by_the_selections_name(numbers: tuple[int, ...], words: str) -> None:
    with pytest.raises(PluginError, match=f"Fixed.*{words}"):
        order(numbers)


def test_features_of_another_source_are_made_of_the_chosen_images_and_only_when_asked_for() -> None:
    asked: list[list[int]] = []

    def own(images: Images, chosen: Indices) -> Features:
        asked.append(chosen.tolist())
        return np.arange(len(chosen), dtype=np.float32)[:, None]

    @dataclass(frozen=True)
    class ByFeature:
        def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterable[int]:
            yield from np.argsort(-features()[:, 0])

    labels, chosen, rng = np.zeros(3, dtype=np.int64), np.array([4, 7, 9]), np.random.default_rng(0)
    numbers = Selector(ByFeature(), features=own).order(IMAGES, labels, chosen, rng)
    assert asked == []
    assert list(numbers) == [9, 7, 4] and asked == [[4, 7, 9]]
    list(Selector(Fixed((0, 1, 2)), features=own).order(IMAGES, labels, chosen, rng))
    assert len(asked) == 1


def test_the_first_of_each_class_comes_first_and_nothing_else_moves() -> None:
    labels = np.array([0, 0, 1, 0, 2, 1])
    assert every_class_first(np.array([1, 0, 5, 3, 2, 4]), labels).tolist() == [1, 5, 4, 0, 3, 2]
    done = np.array([1, 5, 4, 0, 3, 2])
    assert every_class_first(done, labels).tolist() == done.tolist()


def test_classes_are_merged_one_of_each_first_then_in_proportion_and_lazily() -> None:
    def numbers(start: int, count: int) -> Iterable[int]:
        for number in range(start, start + count):
            taken.append(number)
            yield number

    taken: list[int] = []
    counts = [12, 4, 2]
    merged = interleaved([iter(numbers(100 * label, count)) for label, count in enumerate(counts)], counts)
    assert list(islice(merged, 3)) == [0, 100, 200] and taken == [0, 100, 200]
    rest = [number // 100 for number in merged]
    assert len(rest) == 15
    for size in range(1, 16):
        found = np.bincount([0, 1, 2, *rest[:size]], minlength=3)
        assert (np.abs(found - (size + 3) * np.array(counts) / 18) <= 1.5).all()


@pytest.mark.parametrize("lazy", [True, False])
def test_a_selection_computes_on_one_blas_thread_and_who_takes_its_answers_on_as_many_as_before(lazy: bool) -> None:
    seen: list[int] = []

    def lazily(labels: Labels) -> Iterator[int]:
        for number in range(len(labels)):
            seen.append(blas_threads())
            yield number

    @dataclass(frozen=True)
    class Watching:
        def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterable[int]:
            return lazily(labels) if lazy else list(lazily(labels))

    with threadpool_limits(2, user_api="blas"):
        before = blas_threads()
        for _ in Selector(Watching()).order(IMAGES, np.zeros(3, np.int64), np.arange(3), np.random.default_rng(0)):
            assert blas_threads() == before
    assert seen == [1, 1, 1]


def blas_threads() -> int:
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
