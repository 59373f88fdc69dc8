"""Label-efficiency curves: accuracy against labels, and how many labels a transfer is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REPEATS = 2000
ROUNDING = 1e-9  # accuracies that lie nearer are equal: means of the same seeds differ by the order of their sum


@dataclass(frozen=True)
class LabelEquivalent:
    """The labels a class with which scratch reaches what a strategy reached; interval over seeds.

    A bound that lies outside what scratch was trained with is infinite above, and zero below.
    """

    labels: float
    low: float
    high: float


def label_equivalent(
    budgets: Sequence[int], scratch: NDArray[np.float64], reached: NDArray[np.float64], confidence: float, seed: int = 0
) -> LabelEquivalent:
    """Return where on scratch's curve a strategy's mean accuracy lies, n_scratch.

    `scratch` is (budgets, seeds), `reached` (seeds,), paired by seed. The curve of means is interpolated linearly in
    the logarithm of the labels, after each of its points was raised to the highest before it. The interval is the
    percentile bootstrap's over seeds (Efron, Tibshirani 1993).
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(reached), size=(REPEATS, len(reached)))
    found = [_crossing(budgets, scratch[:, draw].mean(axis=1), float(reached[draw].mean())) for draw in draws]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2], method="nearest")
    return LabelEquivalent(_crossing(budgets, scratch.mean(axis=1), float(reached.mean())), float(low), float(high))


def _crossing(budgets: Sequence[int], accuracies: NDArray[np.float64], reached: float) -> float:
    """Return the labels at which a curve first reaches an accuracy; 0 where it begins above, infinity where never."""
    rising = np.maximum.accumulate(accuracies)
    above = int(np.searchsorted(rising, reached - ROUNDING))  # the first budget that reaches it
    if above == len(rising):
        return math.inf
    if rising[above] <= reached + ROUNDING:
        return float(budgets[above])
    if above == 0:
        return 0.0
    share = (reached - rising[above - 1]) / (rising[above] - rising[above - 1])
    logs = np.log(budgets)
    return float(np.exp(logs[above - 1] + share * (logs[above] - logs[above - 1])))
