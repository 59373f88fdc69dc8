"""Put a sweep's findings into words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graftwork.label_curves import LabelEquivalent
from graftwork.sweep_findings import Point, SweepFindings
from graftwork.verdicts import BY_ITSELF, percent, points


def sweep_headline(findings: SweepFindings) -> list[str]:
    """Return what transfer comes to with each label budget, then a sentence for each.

    Each is on the transfer that validation chose with that budget.
    """
    chosen = [findings.chosen(budget) for budget in findings.budgets]
    return [_summary(chosen), *(_sentence(findings, one) for one in chosen)]


def _summary(chosen: Sequence[Point]) -> str:
    """Return `Transfer helped with 5 and 10 labels a class, made no difference with 50.`"""
    budgets: dict[str, list[int]] = {verdict: [] for verdict in BY_ITSELF}
    for one in chosen:
        assert one.judgement
        budgets[one.judgement.verdict].append(one.labels_per_class)
    (first, held), *rest = [(BY_ITSELF[verdict], held) for verdict, held in budgets.items() if held]
    parts = [f"{first} with {_listed(held)} {labels(held[-1])}", *(f"{said} with {_listed(few)}" for said, few in rest)]
    return f"Transfer {', '.join(parts)}."


def labels(count: int) -> str:
    """Return `labels a class`, or of one alone `label a class`."""
    return f"label{'s' * (count > 1)} a class"


def _listed(numbers: Sequence[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def _sentence(findings: SweepFindings, one: Point) -> str:
    assert one.judgement and one.equivalent
    budget = one.labels_per_class
    return (
        f"With {budget} {labels(budget)} {findings.name(one)} {BY_ITSELF[one.judgement.verdict]}: "
        f"{percent(one.accuracy.mean)}, {points(one.judgement.gain)} points; scratch gets there with "
        f"{equivalent(one.equivalent, findings.budgets)}."
    )


def equivalent(found: LabelEquivalent, budgets: Sequence[int]) -> str:
    """Return a label equivalent as `74 [61, 90]`; what lies outside the budgets that were tried as a bound."""
    low, worth, high = (_labels(value, budgets) for value in (found.low, found.labels, found.high))
    return worth if low == high else f"{worth} [{low}, {high}]"


def _labels(value: float, budgets: Sequence[int]) -> str:
    if math.isinf(value):
        return f">{budgets[-1]}"
    return f"{value:.0f}" if value else f"<{budgets[0]}"
