"""The row that the Prefect UI shows of a strategy says what the report says."""

from __future__ import annotations

from typing import Any

import pytest

from graftwork_flows.artifacts import _row


def found(verdict: str, low: float) -> dict[str, Any]:
    gain = {"mean": 0.03, "low": low, "high": 0.05, "verdict": verdict, "bootstrap": {"low": -0.001, "high": 0.061}}
    return {
        "accuracy": {"mean": 0.8, "low": 0.79, "high": 0.81},
        "trainable_share": 0.25,
        "cost": {"stored_bytes": 1940},
        "gain": gain,
    }


@pytest.mark.parametrize(
    ("verdict", "low", "said"),
    [
        ("positive", 0.01, "positive"),
        ("inconclusive", -0.01, "inconclusive"),
        ("inconclusive", 0.01, "inconclusive once corrected for all strategies"),
    ],
)
def test_a_row_says_why_an_interval_off_zero_decides_nothing(verdict: str, low: float, said: str) -> None:
    row = _row("some", found(verdict, low))
    assert row["verdict"] == said
    assert row["with test images"] == "[-0.1, +6.1]"
    assert row["stored"] == "1.94 kB"
