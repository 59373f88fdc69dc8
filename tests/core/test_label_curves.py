"""How many labels a transfer is worth: read off scratch's curve over log labels, with an interval over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graftwork import label_curves
from graftwork.label_curves import LabelEquivalent, label_equivalent

BUDGETS = (20, 50, 100)
MEANS = (0.6, 0.8, 0.9)


@pytest.fixture(scope="module", autouse=True)
def few_repeats() -> Iterator[None]:
    """Let the bootstrap be short: what is promised holds for any number of repeats."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_curves, "REPEATS", 100)
        yield


def equivalent(
    reached: float, means: tuple[float, ...] = MEANS, budgets: tuple[int, ...] = BUDGETS, seeds: int = 3
) -> LabelEquivalent:  # fmt: skip
    """Return it where all seeds do alike."""
    curve = np.repeat(np.array(means)[:, None], seeds, axis=1)
    return label_equivalent(budgets, curve, np.full(seeds, reached), 0.95)


@pytest.mark.parametrize(
    ("reached", "labels"),
    [
        (0.8566, 74.02),  # 50·2^0.566: what full_copy does with 20 labels, scratch does with 74
        (0.7, math.sqrt(20 * 50)),  # half way between two points is their geometric mean
        (0.65, 20 * 2.5**0.25),
        (0.6, 20.0),
        (0.8, 50.0),
        (0.9, 100.0),
    ],
)
def test_it_is_the_one_worked_out_by_hand(reached: float, labels: float) -> None:
    found = equivalent(reached)
    assert (found.labels, found.low, found.high) == pytest.approx((labels, labels, labels), rel=1e-4)


def test_beyond_the_budgets_tried_it_is_zero_below_and_infinite_above() -> None:
    assert equivalent(0.59) == LabelEquivalent(0.0, 0.0, 0.0)
    assert equivalent(0.91) == LabelEquivalent(math.inf, math.inf, math.inf)


def test_a_curve_that_dips_counts_from_where_it_first_got_there() -> None:
    dipping = (0.6, 0.8, 0.7, 0.9)
    budgets = (10, 20, 40, 80)
    assert equivalent(0.75, dipping, budgets).labels == pytest.approx(10 * 2**0.75)
    assert equivalent(0.8, dipping, budgets).labels == 20.0
    assert equivalent(0.85, dipping, budgets).labels == pytest.approx(40 * 2**0.5), "from .8 at 40 to .9 at 80"


def test_one_budget_tells_less_equal_or_more() -> None:
    assert [equivalent(value, (0.6,), (10,)).labels for value in (0.5, 0.6, 0.7)] == [0.0, 10.0, math.inf]


@given(st.lists(st.floats(0, 1), min_size=2, max_size=15), st.sampled_from(range(len(BUDGETS))), st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_what_does_as_scratch_with_a_budget_is_worth_that_budget_however_sums_are_rounded(
    noise: list[float], place: int, seed: int
) -> None:
    offsets = 0.01 * np.array(noise)
    curve = np.array(MEANS)[:, None] + offsets
    shuffled = np.random.default_rng(seed).permutation(curve[place])
    worth = BUDGETS[place]
    assert label_equivalent(BUDGETS, curve, shuffled, 0.95).labels == worth
    assert label_equivalent(BUDGETS, curve, curve[place], 0.95) == LabelEquivalent(worth, worth, worth)


@given(st.lists(st.floats(-0.2, 0.2), min_size=2, max_size=10), st.floats(0.61, 0.89))
@settings(max_examples=25, deadline=None)
def test_noise_that_seeds_share_cancels_and_the_interval_holds_the_estimate(noise: list[float], level: float) -> None:
    shared = np.array(noise)
    found = label_equivalent(BUDGETS, np.array(MEANS)[:, None] + shared, level + shared, 0.95)
    assert found.labels == pytest.approx(equivalent(level).labels, rel=1e-6)
    assert (found.low, found.high) == pytest.approx((found.labels, found.labels), rel=1e-6)


@given(st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_the_interval_holds_the_estimate_and_is_the_same_every_time(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.02, 6)
    curve = np.array(MEANS)[:, None] + shared + rng.normal(0, 0.01, (3, 6))
    reached = 0.85 + shared + rng.normal(0, 0.01, 6)
    found = label_equivalent(BUDGETS, curve, reached, 0.9)
    assert found.low <= found.labels <= found.high
    assert found.low < found.high
    assert label_equivalent(BUDGETS, curve, reached, 0.9) == found
    wider = label_equivalent(BUDGETS, curve, reached, 0.99)
    assert wider.low <= found.low and found.high <= wider.high


def test_a_bound_may_lie_beyond_the_budgets_where_the_estimate_does_not() -> None:
    curve = np.array([[0.5, 0.5, 0.5, 0.5], [0.8, 0.8, 0.8, 0.8]])
    found = label_equivalent((10, 20), curve, np.array([0.6, 0.7, 0.8, 0.9]), 0.95)
    assert 10 < found.low < found.labels < 20
    assert found.high == math.inf
    below = label_equivalent((10, 20), curve, np.array([0.4, 0.5, 0.6, 0.7]), 0.95)
    assert below.low == 0.0 and 10 < below.labels < below.high


@given(st.floats(0.4, 1.0), st.floats(0.0, 0.3))
@settings(max_examples=30, deadline=None)
def test_more_accuracy_is_never_worth_fewer_labels(reached: float, more: float) -> None:
    assert equivalent(reached + more).labels >= equivalent(reached).labels
