"""The report tells what the data is like, whatever the names in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest
from PIL import Image

from graftwork.evidence import Interval
from graftwork.near_duplicates import LookAlike
from graftwork.page import environment, render
from graftwork.prepared_data import IMBALANCED, MOST_SHOWN, LookAlikes, PreparedData
from tests.core.test_page import HOSTILE, PROVENANCE, Elements, make_findings, make_settings, section, visible


def prepared(
    name: str = "target", text: str = "cat", alike: int = 0, names: Sequence[str] | None = None
) -> PreparedData:  # fmt: skip
    """Return data with a text where users' names stand."""
    counts = {"train": (40, 8), "validation": (5, 5), "test": (30, 10)}
    pairs = LookAlikes.of([LookAlike(100 + number, number, 0.995) for number in range(alike)], names)
    near = {"validation": LookAlikes.of([]), "test": pairs}
    return PreparedData(
        name, (text, "dog"), counts, near, 2, (f"{text}.jpg: empty file",), {f".{text}": 3}, {"of 16 bits": 4}
    )


def told(*data: PreparedData) -> str:
    """Return the section alone: without plots, it is made in no time."""
    page = environment().get_template("data.html.j2")
    return page.render(data=data, imbalanced=IMBALANCED, shown=MOST_SHOWN)


def test_classes_look_alikes_and_what_was_left_out_are_told_of_each_data_set() -> None:
    found = told(prepared("source"), prepared(alike=25))
    assert "<h3>Source</h3>" in found and "<h3>Target</h3>" in found
    words = visible(found.partition("<h3>Target</h3>")[2])
    assert "The largest class has 5 times as many training images as the smallest." in words
    assert "as they stood in two splits: 2." in words
    assert "images 48 10 40 largest class to smallest 5 1 3 look like a training image – 0 25" in words
    assert "class train validation test cat 40 5 30 dog 8 5 10" in words
    assert "Test images that look like a training image: 25, the first 20" in words and "100 0 0.995" in words
    assert "Files that could not be read: 1 cat.jpg: empty file" in words
    assert "Pictures of 16 bits: 4." in words
    assert re.search(r"passed over by their extension: \.cat 3 ?\.", words)


def test_look_alikes_are_told_by_name_where_they_have_one() -> None:
    words = visible(told(prepared(alike=2, names=[f"cat/{number}.jpg" for number in range(200)])))
    assert "cat/100.jpg cat/0.jpg 0.995 cat/101.jpg cat/1.jpg 0.995" in words and "Numbered as" not in words
    assert "Numbered as in data/raw/target" in visible(told(prepared(alike=2)))


def test_where_there_is_nothing_to_tell_nothing_is_said() -> None:
    found = told(replace(prepared(), look_alikes={}, skipped=(), ignored={}, remarks={}, dropped=0))
    for words in ("Pictures", "look like", "could not be read", "passed over", "stood in two splits"):
        assert words not in found
    assert "times as many" not in told(replace(prepared(), counts={"train": (30, 10)}))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_classes_and_files_are_shown_and_not_obeyed(text: str) -> None:
    found = told(prepared(text=text, alike=1), prepared(alike=1, names=[text] * 200))
    seen = Elements()
    seen.feed(found)
    assert "<!--" not in found and not seen.tags & {"script", "b", "i"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert found.count(str(escape(text)).replace("&quot;", "&#34;")) == 3 + (2 if text.isprintable() else 0)


def test_the_report_holds_the_data_and_balanced_accuracy_where_classes_differ(tmp_path: Path) -> None:
    Image.new("L", (16, 8)).save(tmp_path / "target.png")
    findings = make_findings()
    strategies = [replace(found, balanced_accuracy=Interval(0.55, 0.5, 0.6)) for found in findings.strategies]
    uneven = replace(findings, strategies=tuple(strategies), data=(prepared(),))
    page = render(uneven, make_settings(), PROVENANCE, {"target": tmp_path / "target.png"})
    cell = '<td class="number">55.0 %<span class="range">[50.0, 60.0]</span></td>'
    assert section(page, "Class by class").count(cell) == len(strategies)
    assert "<h3>Target</h3>" in section(page, "The data")
    assert uneven.metrics()["strategies"]["better"]["balanced_accuracy"]["mean"] == 0.55


def test_without_uneven_classes_metrics_are_what_they_were() -> None:
    assert "balanced" not in str(make_findings().metrics())
