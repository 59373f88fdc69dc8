"""Accuracy against labels is drawn in a panel for each transfer, with scratch behind it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from graftwork.evidence import Interval
from graftwork.label_plot import LabelCurve, label_curves_svg
from graftwork.plots import COLOURS, CONTROL


def curve(name: str, labels: tuple[int, ...] = (5, 10, 50), mean: float = 0.5) -> LabelCurve:
    return LabelCurve(name, labels, tuple(Interval(mean, mean - 0.1, mean + 0.1) for _ in labels))


@pytest.mark.parametrize("count", [1, 3])
def test_every_transfer_has_a_panel_with_its_own_colour_and_scratch_in_grey(count: int) -> None:
    names = [f"transfer {number}" for number in range(count)]
    drawing = label_curves_svg([curve("scratch")] * count, [curve(name, mean=0.6) for name in names])
    label = ElementTree.fromstring(drawing).get("aria-label") or ""
    for name in names:
        assert f">{name}</text>" in drawing and name in label
    assert drawing.count(">labels a class</text>") == min(count, 2)
    used = set(re.findall(r"stroke: (#[0-9a-f]{6})", drawing))
    assert {CONTROL, *COLOURS[:count]} <= used


@pytest.mark.parametrize("labels", [(1,), (5, 10, 20, 50), (3, 1000)])
def test_the_budgets_that_were_tried_are_the_ticks(labels: tuple[int, ...]) -> None:
    drawing = label_curves_svg([curve("scratch", labels)], [curve("full_copy", labels)])
    ticks = re.findall(r">(\d+)</text>", drawing)
    for budget in labels:
        assert str(budget) in ticks


def test_a_long_name_is_cut_and_a_hostile_one_escaped() -> None:
    drawing = label_curves_svg([curve("scratch")] * 2, [curve("x" * 300), curve("</svg><script>$\\frac")])
    assert drawing.count("</svg>") == 1 and "<script" not in drawing
    assert "x" * 21 + "…" in drawing
