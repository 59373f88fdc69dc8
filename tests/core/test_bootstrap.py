"""The interval that covers test images too: wider where they are few, Student's where they are all alike."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from graftwork.bootstrap import bootstrap_gain
from graftwork.evidence import paired_gain

Correct = NDArray[np.bool_]


def answers(images: int, seeds: int = 5, spread: float = 0.1, seed: int = 0) -> tuple[Correct, Correct]:
    """Return answers of a population: images of their own ease and gain, seeds of their own luck."""
    draws = np.random.default_rng(seed)
    ease, gain = draws.normal(1.0, 1.2, images), draws.normal(0.15, 0.35, images)
    luck = draws.normal(0, spread, (2, seeds, 1))
    noise = draws.normal(0, 0.5, (2, seeds, images))
    return ease + gain + luck[0] + noise[0] > 0, ease + luck[1] + noise[1] > 0


def students(strategy: Correct, scratch: Correct) -> tuple[float, float]:
    found = paired_gain(strategy.mean(axis=1).tolist(), scratch.mean(axis=1).tolist(), 0.95)
    return found.low, found.high


def test_equal_answers_have_no_gain_and_no_doubt() -> None:
    answered = answers(100)[0]
    found = bootstrap_gain(answered, answered, 0.95)
    assert (found.mean, found.low, found.high) == (0.0, 0.0, 0.0)


def test_where_every_image_gains_alike_it_is_students_interval() -> None:
    right = np.array([1, 0, 1, 1, 1], dtype=bool)[:, None].repeat(50, axis=1)  # each seed knows all images or none
    found = bootstrap_gain(right, np.zeros_like(right), 0.95)
    assert (found.low, found.high) == pytest.approx(students(right, np.zeros_like(right)), abs=0.01)


def test_where_seeds_agree_it_is_the_bootstrap_of_the_images() -> None:
    one, other = answers(400, seeds=1)
    found = bootstrap_gain(one.repeat(3, axis=0), other.repeat(3, axis=0), 0.95)
    differences = one[0].astype(int) - other[0]
    half = 1.96 * differences.std() / np.sqrt(400)
    assert found.mean == pytest.approx(differences.mean())
    assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half), abs=0.004)


def test_the_same_images_are_drawn_for_strategy_and_scratch() -> None:
    """A gain on the same images for all has little doubt, however unlike each other the images are."""
    scratch = np.tile(np.arange(200) % 2 == 0, (5, 1))
    strategy = scratch.copy()
    strategy[:, 1] = True
    found = bootstrap_gain(strategy, scratch, 0.95)
    assert found.low >= -0.001 and found.high < 0.02


def test_it_is_the_same_each_time() -> None:
    strategy, scratch = answers(300)
    assert bootstrap_gain(strategy, scratch, 0.95) == bootstrap_gain(strategy, scratch, 0.95)


@pytest.mark.parametrize("spread", [0.0, 0.05, 0.2])
def test_it_covers_the_population_where_students_over_seeds_alone_may_not(spread: float) -> None:
    unexplained = 1.2**2 + spread**2 + 0.5**2
    truth = norm.cdf(1.15 / np.sqrt(unexplained + 0.35**2)) - norm.cdf(1 / np.sqrt(unexplained))
    covered = np.zeros(2)
    for seed in range(200):
        strategy, scratch = answers(100, seeds=10, spread=spread, seed=seed)
        found = bootstrap_gain(strategy, scratch, 0.95, repeats=500)
        low, high = students(strategy, scratch)
        covered += [found.low <= truth <= found.high, low <= truth <= high]
    both, seeds_alone = covered / 200
    assert both >= 0.93
    if spread < 0.1:
        assert seeds_alone < both - 0.02


def test_it_takes_little_time() -> None:
    strategy, scratch = answers(3000)
    bootstrap_gain(strategy, scratch, 0.95)  # the first imports
    began = time.process_time()
    bootstrap_gain(strategy, scratch, 0.95)
    assert time.process_time() - began < 0.2


@pytest.mark.parametrize("shape", [(1, 5), (2, 0)])
def test_too_little_is_an_error(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="seeds ≥ 2"):
        bootstrap_gain(np.ones(shape, dtype=bool), np.ones(shape, dtype=bool), 0.95)
