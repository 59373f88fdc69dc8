"""Intervals are Student's, verdicts follow from the interval alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from graftwork.evidence import (
    RULES,
    Interval,
    corrected_verdict,
    holm,
    judge,
    paired_gain,
    paired_p_value,
    student_interval,
    verdict,
)

Fraction = st.floats(-1, 1, allow_nan=False)
Accuracies = st.lists(st.floats(0, 1), min_size=2, max_size=10)


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


def test_the_interval_is_the_one_worked_out_by_hand() -> None:
    found = student_interval([1.0, 2.0, 3.0], 0.95)  # s = 1, t(0.975, 2) = 4.302653, n = 3
    assert found.mean == 2.0
    assert found.high - found.mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


@given(Accuracies.filter(lambda values: max(values) - min(values) > 1e-3), st.floats(0.6, 0.99))
def test_the_interval_is_scipys(values: list[float], confidence: float) -> None:
    found = student_interval(values, confidence)
    expected = stats.t.interval(confidence, len(values) - 1, loc=sum(values) / len(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_equal_values_have_an_interval_without_width() -> None:
    assert student_interval([0.5, 0.5, 0.5], 0.95) == Interval(0.5, 0.5, 0.5)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_value_has_no_interval(values: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2"):
        student_interval(values, 0.95)


def test_a_gain_is_paired_so_what_seeds_share_cancels() -> None:
    hard_and_easy = [0.1, 0.5, 0.9]
    gain = paired_gain([value + 0.05 for value in hard_and_easy], hard_and_easy, 0.95)
    assert (gain.low, gain.high) == pytest.approx((0.05, 0.05))


def test_seeds_that_have_no_partner_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter|longer"):
        paired_gain([0.1, 0.2, 0.3], [0.1, 0.2], 0.95)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.02, 0.04, "positive"),
        (0.0001, 0.04, "positive"),
        (-0.04, -0.02, "negative"),
        (-0.01, 0.01, "neutral"),
        (0.001, 0.009, "neutral"),  # surely above zero, and surely too little to matter
        (-0.009, -0.001, "neutral"),
        (0.0, 0.02, "inconclusive"),
        (-0.02, 0.0, "inconclusive"),
        (-0.05, 0.05, "inconclusive"),
        (math.nan, math.nan, "inconclusive"),
    ],
)
def test_the_verdict_is_what_the_rules_say(low: float, high: float, expected: str) -> None:
    assert verdict(interval(low, high), margin=0.01) == expected
    assert expected in RULES


@given(Fraction, Fraction, st.floats(0, 0.2), st.floats(0, 1))
def test_a_verdict_never_gets_worse_as_the_gain_grows(one: float, other: float, margin: float, step: float) -> None:
    low, high = sorted((one, other))
    order = {"negative": 0, "inconclusive": 1, "neutral": 1, "positive": 2}
    here = verdict(interval(low, high), margin)
    there = verdict(interval(low + step, high + step), margin)
    assert order[there] >= order[here]


@given(Fraction, Fraction, st.floats(0, 0.2))
def test_better_and_worse_mirror_each_other(one: float, other: float, margin: float) -> None:
    low, high = sorted((one, other))
    mirror = {"positive": "negative", "negative": "positive"}
    here, there = verdict(interval(low, high), margin), verdict(interval(-high, -low), margin)
    assert there == mirror.get(here, here)


def test_an_accuracys_interval_ends_where_accuracies_end() -> None:
    assert interval(0.9, 1.2).within(0.0, 1.0) == Interval(1.05, 0.9, 1.0)


@given(st.integers(0, 10_000), st.integers(2, 8))
def test_the_p_value_is_scipys(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.random(count).tolist(), rng.random(count).tolist()
    assert paired_p_value(one, other) == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-6)


def test_equal_differences_leave_no_doubt() -> None:
    assert paired_p_value([0.5, 0.75], [0.25, 0.5]) == 0.0
    assert paired_p_value([0.5, 0.75], [0.5, 0.75]) == 1.0


def test_the_interval_is_above_zero_just_when_p_is_small_enough() -> None:
    for shift in (0.01, 0.02, 0.03, 0.05):
        one, other = [0.6 + shift, 0.64 + shift / 2, 0.62 + 2 * shift], [0.6, 0.64, 0.62]
        gain = paired_gain(one, other, 0.95)
        assert (gain.low > 0) == (paired_p_value(one, other) < 0.05)


def test_holms_correction_is_the_one_worked_out_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_a_correction_only_raises_p_and_keeps_the_order(values: list[float]) -> None:
    corrected = holm(values)
    assert all(after >= before for before, after in zip(values, corrected, strict=True))
    order = sorted(range(len(values)), key=lambda index: values[index])
    assert [corrected[index] for index in order] == sorted(corrected)


def test_a_gain_that_is_clear_alone_may_be_one_of_many_by_chance() -> None:
    assert corrected_verdict(interval(0.01, 0.05), 0.005, 0.01, 0.95) == "positive"
    assert corrected_verdict(interval(0.01, 0.05), 0.005, 0.2, 0.95) == "inconclusive"
    assert corrected_verdict(interval(-0.001, 0.001), 0.005, 0.9, 0.95) == "neutral"


def test_judged_together_gains_stand_as_they_are_and_p_is_corrected_for_their_number() -> None:
    scratch = [0.60, 0.64, 0.62]
    others = [[0.80, 0.85, 0.82], [0.61, 0.64, 0.66], [0.50, 0.52, 0.53]]
    alone = [judge([(accuracies, scratch)], 0.95, 0.01)[0] for accuracies in others]
    together = judge([(accuracies, scratch) for accuracies in others], 0.95, 0.01)
    assert [found.gain for found in together] == [found.gain for found in alone]
    assert [found.p for found in together] == holm([found.p for found in alone])
    assert [found.verdict for found in together] == ["positive", "inconclusive", "negative"]
    assert [found.p for found in alone] == [paired_p_value(accuracies, scratch) for accuracies in others]


def test_each_pair_is_judged_against_its_own_control() -> None:
    found = judge([([0.5, 0.6], [0.4, 0.5]), ([0.5, 0.6], [0.6, 0.7])], 0.95, 0.01)
    assert [one.gain.mean for one in found] == pytest.approx([0.1, -0.1])


def test_among_many_comparisons_a_gain_that_is_clear_alone_is_not_told() -> None:
    clear = ([0.63, 0.66, 0.67], [0.60, 0.64, 0.62])
    same = ([0.60, 0.65, 0.61], [0.60, 0.64, 0.62])
    assert judge([clear], 0.9, 0.001)[0].verdict == "positive"
    found = judge([clear, *[same] * 9], 0.9, 0.001)
    assert found[0].verdict == "inconclusive" and found[0].gain.low > 0 and found[0].p > 0.1


def test_nothing_to_judge_is_judged() -> None:
    assert judge([], 0.95, 0.01) == []
