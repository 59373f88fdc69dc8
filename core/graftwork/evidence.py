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
    "positive": "the whole interval lies above zero",
    "negative": "the whole interval lies below zero",
    "inconclusive": "none of these: more seeds, or more test images, are needed",
}


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with Student's interval for it."""

    mean: float
    low: float
    high: float

    def within(self, least: float, most: float) -> Interval:
        """Return the part of it that lies between two bounds of what was measured."""
        return Interval(self.mean, max(self.low, least), min(self.high, most))


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
    """Judge a gain by RULES, in their order."""
    if -margin <= gain.low and gain.high <= margin:
        return "neutral"
    if gain.low > 0:
        return "positive"
    if gain.high < 0:
        return "negative"
    return "inconclusive"
