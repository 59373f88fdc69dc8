"""How far a model's confidence can be trusted: calibration error, its bins, and the temperature that mends it.

Guo et al., ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

BINS = 15
SMALLEST = 1e-12


@dataclass(frozen=True)
class Reliability:
    """Answers sorted by confidence into bins of equal width, open to the left: (a, b]."""

    counts: tuple[int, ...]  # of answers in each bin
    correct: tuple[float, ...]  # of them right
    confidence: tuple[float, ...]  # the sum of their confidences

    def __add__(self, other: Reliability) -> Reliability:
        """Pool the answers of two."""
        pairs = ((self.counts, other.counts), (self.correct, other.correct), (self.confidence, other.confidence))
        counts, correct, confidence = (tuple(a + b for a, b in zip(*pair, strict=True)) for pair in pairs)
        return Reliability(tuple(map(int, counts)), correct, confidence)

    def error(self) -> float:
        """Return the expected calibration error: Σ_bins (share of answers) · |accuracy − mean confidence|."""
        gaps = (abs(right - sure) for right, sure in zip(self.correct, self.confidence, strict=True))
        return math.fsum(gaps) / sum(self.counts)


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Reliability:
    """Sort the answers of probabilities (images, classes); confidence is the largest of an image."""
    confidence, predicted = probabilities.double().max(dim=1)
    return binned(confidence, predicted == labels, bins)


def binned(confidence: Tensor, correct: Tensor, bins: int = BINS) -> Reliability:
    """Sort answers of these confidences (images,), with whether each was correct (images,)."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(confidence.double(), edges[1:-1])
    values = torch.stack([torch.ones(len(place), dtype=torch.float64), correct.double(), confidence.double()])
    counts, right, sure = torch.zeros(3, bins, dtype=torch.float64).index_add_(1, place, values).tolist()
    return Reliability(tuple(map(int, counts)), tuple(right), tuple(sure))


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Return the error of probabilities (images, classes)."""
    return reliability(probabilities, labels, bins).error()


def calibration_gap(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Return the same, of confidences (images,) and whether each answer was correct (images,)."""
    return binned(confidence, correct, bins).error()


def scaled(probabilities: Tensor, temperature: float) -> Tensor:
    """Return the probabilities that the same logits give at a temperature."""
    return (probabilities.double().clamp_min(SMALLEST).log() / temperature).softmax(dim=1)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """Return the temperature, 0.05 to 20, of the least negative log-likelihood; labels are of validation images."""
    return round(likeliest_temperature(probabilities.double().clamp_min(SMALLEST).log(), labels, 3.0), 4)


def likeliest_temperature(
    logits: Tensor, labels: Tensor, bound: float, class_weights: Tensor | None = None
) -> float:  # fmt: skip
    """Return the temperature, e^−bound to e^bound, that logits (images, classes) are best divided by.

    An image counts what its class does (classes,), in the logits' type; by default all the same.
    """
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels, class_weights))

    return math.exp(minimize_scalar(loss, bounds=(-bound, bound), method="bounded", options={"xatol": 1e-4}).x)
