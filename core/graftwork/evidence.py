"""Say with an interval whether transfer helped: paired differences over seeds, and a verdict by stated rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

VerdictName = Literal["positive", "neutral", "negative", "inconclusive"]

RULES = {
    "neutral": "the whole interval lies within ±margin: any difference is too small to matter",
    "positive": "the whole interval lies above zero, also when corrected for the number of strategies (Holm)",
    "negative": "the whole interval lies below zero, also when corrected for the number of strategies (Holm)",
    "inconclusive": "none of these: more seeds, or more test images, are needed",
}


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with an interval for it."""

    mean: float
    low: float
    high: float

    def within(self, least: float, most: float) -> Interval:
        """Return the part of it that lies between two bounds of what was measured."""
        return Interval(self.mean, max(self.low, least), min(self.high, most))

    def excludes_zero(self) -> bool:
        """Return whether all of it lies on one side of zero."""
        return self.low > 0 or self.high < 0


def student_interval(values: Sequence[float], confidence: float) -> Interval:
    """Return mean ± t·s/√n with n−1 degrees of freedom. Needs two values or more."""
    from scipy.stats import t

    if len(values) < 2:
        raise ValueError(f"an interval needs at least 2 values, found {len(values)}")
    mean = fmean(values)
    half = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * stdev(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def paired_gain(strategy: Sequence[float], scratch: Sequence[float], confidence: float) -> Interval:
    """Return the interval of the differences, seed by seed."""
    differences = [a - b for a, b in zip(strategy, scratch, strict=True)]
    return student_interval(differences, confidence)


def verdict(gain: Interval, margin: float) -> VerdictName:
    """Judge one gain by RULES, in their order, without the correction for several."""
    if -margin <= gain.low and gain.high <= margin:
        return "neutral"
    if gain.low > 0:
        return "positive"
    if gain.high < 0:
        return "negative"
    return "inconclusive"


def paired_p_value(strategy: Sequence[float], scratch: Sequence[float]) -> float:
    """Return the two-sided p of Student's paired test: how surprising the gain were if there was none."""
    from scipy.stats import t

    differences = [a - b for a, b in zip(strategy, scratch, strict=True)]
    mean, error = fmean(differences), stdev(differences) / math.sqrt(len(differences))
    if error == 0:
        return 0.0 if mean else 1.0
    return float(2 * t.sf(abs(mean) / error, len(differences) - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p corrected for several comparisons (Holm, Scand. J. Statist. 1979), in the order given."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    corrected, least = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = least
    return corrected


def corrected_verdict(gain: Interval, margin: float, corrected_p: float, confidence: float) -> VerdictName:
    """Judge a gain by RULES; what the correction doesn't let stand is inconclusive."""
    found = verdict(gain, margin)
    if found in ("positive", "negative") and corrected_p > 1 - confidence:
        return "inconclusive"
    return found


@dataclass(frozen=True)
class Judgement:
    """A gain over scratch, what it comes to, and p of no gain; both corrected for all that was judged together."""

    gain: Interval
    verdict: VerdictName
    p: float


def judge(
    comparisons: Sequence[tuple[Sequence[float], Sequence[float]]], confidence: float, margin: float
) -> list[Judgement]:
    """Judge pairs of a strategy's and scratch's accuracies, seed by seed, corrected by Holm for their number."""
    gains = [paired_gain(strategy, scratch, confidence) for strategy, scratch in comparisons]
    corrected = holm([paired_p_value(strategy, scratch) for strategy, scratch in comparisons])
    return [
        Judgement(gain, corrected_verdict(gain, margin, p, confidence), p)
        for gain, p in zip(gains, corrected, strict=True)
    ]
