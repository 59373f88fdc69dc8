"""Score one source for one target by every transferability score there is, each with its interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from graftwork.evidence import Interval
from graftwork.features import Extracted
from graftwork.similarity import frechet_distance
from graftwork.splits import stratified_order
from graftwork.transferability import (
    SCORES,
    Score,
    bootstrap_interval,
    knn_accuracy,
    leep,
    linear_probe_accuracy,
    nce,
)

T = TypeVar("T")

MOST_IMAGES = 500  # more would cost minutes, mostly for the intervals, and hardly narrow them
REPEATS = 50
SHARES = (knn_accuracy, linear_probe_accuracy)  # scores between 0 and 1

TITLES = {
    "logme": "LogME",
    "leep": "LEEP",
    "nce": "NCE",
    "h_score": "H-score",
    "h_score_regularized": "H-score, regularised",
    "gbc": "GBC",
    "transrate": "TransRate",
    "nleep": "NLEEP",
    "knn_accuracy": "k-NN accuracy",
    "linear_probe_accuracy": "linear probe accuracy",
}


@dataclass(frozen=True)
class SourceScores:
    """How well a source's features suit the target's labelled images; None where a score can't be had."""

    source: str
    images: int
    scores: dict[str, Interval | None]
    untrained: dict[str, float | None]  # the same of the same model with random weights
    frechet_distance: float | None  # squared, between features of both data sets' training images

    def as_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> SourceScores:
        """Return what `as_json` gave."""
        scores = {name: Interval(**value) if value else None for name, value in stored["scores"].items()}
        return cls(**{**stored, "scores": scores})


def score_source(
    source: str, target: Extracted, own: Extracted | None, untrained: Extracted, labels: NDArray[np.int64],
    confidence: float,
) -> SourceScores:  # fmt: skip
    """Score a source model by what it makes of the target's images, beside what it makes of its own, if there are any.

    `untrained` is what the model with random weights makes of the target's images.
    """

    def interval(score: Score, values: Tensor) -> Interval | None:
        found = _attempt(lambda: bootstrap_interval(score, values, labels, confidence, REPEATS))
        return found.within(0.0, 1.0) if found and score in SHARES else found

    scores = {"leep": interval(leep, target.probabilities), "nce": interval(nce, target.probabilities.argmax(dim=1))}
    scores |= {name: interval(score, target.features) for name, score in SCORES.items()}
    plain = {name: _attempt(partial(score, untrained.features, labels)) for name, score in SCORES.items()}
    distance = _distance(target.features, own.features) if own else None
    return SourceScores(source, len(labels), scores, plain, distance)


def scored_images(labels: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the indices of the images to score on: all, or a stratified choice of MOST_IMAGES."""
    return np.sort(stratified_order(labels, np.random.default_rng([seed, 0x5C0]))[:MOST_IMAGES])


def ranked(found: list[SourceScores]) -> dict[str, list[str]]:
    """Return for each score the sources from the best to the worst; those without it are left out."""
    values = {name: {one.source: held.mean for one in found if (held := one.scores[name])} for name in TITLES}
    return {name: sorted(held, key=lambda source: -held[source]) for name, held in values.items() if held}


def mean_ranks(found: list[SourceScores]) -> dict[str, float]:
    """Return each source's mean rank over the scores, 1 the best, and the best of them first.

    A source without a score that others have is last in it; where nobody has any, all are 1.
    """
    orders = ranked(found).values()

    def place(source: str, order: list[str]) -> int:
        return order.index(source) + 1 if source in order else len(found)

    means = {one.source: fmean([place(one.source, order) for order in orders] or [1]) for one in found}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def _distance(features: Tensor, others: Tensor) -> float | None:
    count = min(len(features), len(others))
    return _attempt(partial(frechet_distance, _spread(features, count), _spread(others, count)))


def _spread(features: Tensor, count: int) -> Tensor:
    """Return so many rows from all over: data may be sorted by class, so that the first rows show some classes only."""
    return features[np.linspace(0, len(features) - 1, count).round().astype(np.int64)]


def _attempt(compute: Callable[[], T]) -> T | None:
    """Return a score, or None where the images are too few for it."""
    try:
        return compute()
    except ValueError:
        return None
