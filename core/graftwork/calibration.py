"""How far a model's confidence can be trusted: expected calibration error, and the temperature that mends it.

Guo et al., ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

BINS = 15
SMALLEST = 1e-12


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Return Σ_bins (share of images) · |accuracy − mean confidence|, of probabilities (images, classes).

    Confidence is the largest probability; bins are of equal width, open to the left: (a, b].
    """
    confidence, predicted = probabilities.double().max(dim=1)
    return calibration_gap(confidence, predicted == labels, bins)


def calibration_gap(confidence: Tensor, correct: Tensor, bins: int = BINS) -> float:
    """Return the same, of confidences (images,) and whether each answer was correct (images,)."""
    edges = torch.linspace(0, 1, bins + 1, dtype=torch.float64)
    place = torch.bucketize(confidence.double(), edges[1:-1])
    gap = correct.double() - confidence.double()
    sums = torch.zeros(bins, dtype=torch.float64).index_add_(0, place, gap)
    return float(sums.abs().sum() / len(confidence))


def scaled(probabilities: Tensor, temperature: float) -> Tensor:
    """Return the probabilities that the same logits give at a temperature."""
    return (probabilities.double().clamp_min(SMALLEST).log() / temperature).softmax(dim=1)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> float:
    """Return the temperature, 0.05 to 20, of the least negative log-likelihood; labels are of validation images."""
    from scipy.optimize import minimize_scalar

    logits = probabilities.double().clamp_min(SMALLEST).log()

    def loss(log_temperature: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels))

    found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded", options={"xatol": 1e-4})
    return float(round(math.exp(found.x), 4))
