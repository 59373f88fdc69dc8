"""A sweep in words: what transfer comes to with each budget, on the transfer that validation chose."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from graftwork.evidence import Interval, Judgement, VerdictName
from graftwork.label_curves import LabelEquivalent
from graftwork.layout import Layout
from graftwork.sweep_findings import SweepFindings, find_sweep
from graftwork.sweep_verdicts import equivalent, sweep_headline
from tests.core.sweeps import sweep_settings, write_cells


@pytest.fixture
def findings(tmp_path: Path) -> SweepFindings:
    write_cells(Layout(tmp_path), ("source",))
    return find_sweep(sweep_settings(), Layout(tmp_path))


def judged(findings: SweepFindings, *verdicts: VerdictName) -> SweepFindings:
    """Return the findings with one verdict for each budget."""
    by_budget = dict(zip(findings.budgets, verdicts, strict=True))
    points = tuple(
        replace(one, judgement=Judgement(Interval(0.1, 0.05, 0.15), by_budget[one.labels_per_class], 0.01))
        if one.judgement
        else one
        for one in findings.points
    )
    return replace(findings, points=points)


def test_the_first_sentence_names_the_budgets_under_each_verdict(findings: SweepFindings) -> None:
    def words(*verdicts: VerdictName) -> str:
        return sweep_headline(judged(findings, *verdicts))[0].removeprefix("Transfer ")

    assert words("positive", "positive", "positive") == "helped with 5, 10 and 20 labels a class."
    assert (
        words("positive", "positive", "neutral") == "helped with 5 and 10 labels a class, made no difference with 20."
    )
    mixed = words("inconclusive", "negative", "inconclusive")
    assert mixed == "hurt with 10 labels a class, can't be told from scratch with 5 and 20."


def test_one_label_is_one_label(findings: SweepFindings) -> None:
    points = tuple(replace(one, labels_per_class=1) for one in findings.with_labels(5))
    first, second = sweep_headline(replace(findings, points=points, budgets=(1,)))
    assert first == "Transfer helped with 1 label a class."
    assert second.startswith("With 1 label a class better helped: ")


def test_a_sentence_for_each_budget_says_what_the_chosen_transfer_reached_gained_and_is_worth(
    findings: SweepFindings,
) -> None:
    sentences = sweep_headline(findings)[1:]
    assert len(sentences) == 3
    assert sentences[0] == (
        "With 5 labels a class better helped: 62.0 %, +10.0 [+10.0, +10.0] points; scratch gets there with 10."
    )
    assert sentences[2].endswith("scratch gets there with >20.")


def test_of_several_sources_each_sentence_names_the_one(tmp_path: Path) -> None:
    write_cells(Layout(tmp_path), ("source",))
    write_cells(Layout(tmp_path), ("other",), validation={"scratch": 0.1, "better": 0.9, "worse": 0.1})
    words = sweep_headline(find_sweep(sweep_settings(("source", "other")), Layout(tmp_path)))
    assert all("a class better from other helped" in sentence for sentence in words[1:])


@pytest.mark.parametrize(
    ("low", "labels", "high", "words"),
    [
        (61.4, 73.6, 90.2, "74 [61, 90]"),
        (74.0, 74.0, 74.0, "74"),
        (0.0, 6.0, 9.0, "6 [<5, 9]"),
        (40.0, 48.0, math.inf, "48 [40, >50]"),
        (40.0, math.inf, math.inf, ">50 [40, >50]"),
        (0.0, 0.0, 0.0, "<5"),
        (math.inf, math.inf, math.inf, ">50"),
        (0.0, 20.0, math.inf, "20 [<5, >50]"),
    ],
)
def test_an_equivalent_is_told_with_its_interval_and_bounds_where_it_was_not_tried(
    low: float, labels: float, high: float, words: str
) -> None:
    assert equivalent(LabelEquivalent(labels, low, high), (5, 50)) == words
