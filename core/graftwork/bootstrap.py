"""An interval of the gain that covers the draw of the test images as well as the seeds, by resampling the images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graftwork.evidence import Interval

REPEATS = 2000
Correct = NDArray[np.bool_]  # (seeds, images): which answers were right


def bootstrap_gain(strategy: Correct, scratch: Correct, confidence: float, repeats: int = REPEATS) -> Interval:
    """Return the mean gain with the interval that seeds and test images give it together. Needs two seeds or more.

    Of every repeat, gain = the mean gain on N test images drawn with replacement, the same ones for the strategy,
    scratch and all seeds (Efron & Tibshirani, An Introduction to the Bootstrap, 1993), + t·s/√n, with t drawn from
    Student's distribution with n−1 degrees of freedom and s the spread of the n seeds' gains; low and high are the
    repeats' quantiles. Where every image gains alike, this is Student's interval.

    Seeds aren't resampled: a handful can't show the tails of their own distribution. In simulation, resampling both
    at 95 % (the pigeonhole bootstrap: Owen, Ann. Appl. Stat. 2007) covered 59 to 94 % with 2 to 5 seeds that differ
    much, and was narrower than Student's interval; this procedure covered about 95 % or more.
    """
    from scipy.stats import t

    if strategy.shape != scratch.shape or len(strategy) < 2 or strategy.shape[1] == 0:
        raise ValueError(f"expected two equal shapes (seeds ≥ 2, images ≥ 1), found {strategy.shape}, {scratch.shape}")
    seeds, images = strategy.shape
    gains = strategy.astype(np.int64) - scratch
    draws = np.random.default_rng(0)
    # Images with the same gain are alike: it is enough to draw how many there are of each.
    sums, counts = np.unique(gains.sum(axis=0), return_counts=True)
    of_images = draws.multinomial(images, counts / images, size=repeats) @ sums / (seeds * images)
    # Evenly spaced quantiles in random order have far less noise than random draws, in a heavy tail above all.
    quantiles = t.ppf((draws.permutation(repeats) + 0.5) / repeats, seeds - 1)
    of_seeds = quantiles * gains.mean(axis=1).std(ddof=1) / np.sqrt(seeds)
    low, high = np.quantile(of_images + of_seeds, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(gains.mean()), float(low), float(high))
