"""Calibration errors are the formula's, and the temperature is the best one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graftwork.calibration import (
    binned,
    calibration_gap,
    expected_calibration_error,
    fit_temperature,
    reliability,
    scaled,
)
from graftwork.reliability_plot import bins


def logits_and_labels(sharpness: float, count: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Return logits that are `sharpness` times too sure, and labels drawn from what they should be."""
    draws = torch.Generator().manual_seed(0)
    true = torch.randn(count, 4, generator=draws, dtype=torch.float64) * 1.5
    labels = torch.multinomial(true.softmax(dim=1), 1, generator=draws).squeeze(1)
    return true * sharpness, labels


def test_the_error_is_the_one_worked_out_by_hand() -> None:
    confidence = torch.tensor([0.95, 0.85, 0.75, 0.65, 0.55, 0.55, 1.0, 0.5])
    correct = torch.tensor([1, 1, 0, 1, 0, 1, 1, 0])
    assert calibration_gap(confidence, correct) == pytest.approx(0.2375)


def test_the_error_is_an_independent_formulas() -> None:
    logits, labels = logits_and_labels(2.0, 500)
    probabilities = logits.softmax(dim=1)
    sure, found = probabilities.max(dim=1)
    confidence, correct = sure.numpy(), (found == labels).numpy()
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
def test_the_temperature_undoes_what_made_the_model_too_sure(sharpness: float) -> None:
    logits, labels = logits_and_labels(sharpness)
    assert fit_temperature(logits.softmax(dim=1), labels) == pytest.approx(sharpness, rel=0.08)


def test_scaling_mends_the_error_and_changes_no_answer() -> None:
    logits, labels = logits_and_labels(3.0)
    before = logits.softmax(dim=1)
    after = scaled(before, fit_temperature(before, labels))
    assert torch.equal(before.argmax(dim=1), after.argmax(dim=1))
    assert expected_calibration_error(after, labels) < expected_calibration_error(before, labels) / 3
    torch.testing.assert_close(scaled(before, 1.0), before, atol=1e-9, rtol=0)


def test_certain_answers_have_a_finite_temperature() -> None:
    assert 0 < fit_temperature(torch.eye(3)[[0, 1, 2, 0]], torch.tensor([0, 1, 2, 1])) <= 20.1


def test_the_bins_hold_every_answer_once_and_pool() -> None:
    logits, labels = logits_and_labels(2.0, 500)
    probabilities = logits.softmax(dim=1)
    halves = [reliability(probabilities[part], labels[part]) for part in (slice(0, 200), slice(200, 500))]
    whole = reliability(probabilities, labels)
    pooled = halves[0] + halves[1]
    assert sum(whole.counts) == 500 and pooled.counts == whole.counts
    assert pooled.confidence == pytest.approx(whole.confidence) and pooled.correct == whole.correct
    assert pooled.error() == pytest.approx(expected_calibration_error(probabilities, labels))


def test_each_bin_tells_its_mean_confidence_and_accuracy() -> None:
    found = bins(binned(torch.tensor([0.2, 0.25, 0.9]), torch.tensor([True, False, True]), bins=4))
    assert [(one.low, one.high, one.count) for one in found] == [
        (0, 0.25, 2),
        (0.25, 0.5, 0),
        (0.5, 0.75, 0),
        (0.75, 1, 1),
    ]
    assert (found[0].confidence, found[0].accuracy) == (pytest.approx(0.225), 0.5)
    assert (found[1].confidence, found[1].accuracy) == (None, None)
