import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks.growth_plot import Growth, drawing
from benchmarks.measuring import columns, joined, slope


def test_the_slope_of_a_power_law_is_its_exponent() -> None:
    amounts = [1.0, 10.0, 40.0]
    assert slope(amounts, [3 * amount**1.5 for amount in amounts]) == pytest.approx(1.5)
    assert slope(amounts, [2.0, 2.0, 2.0]) == pytest.approx(0)


def test_a_table_has_a_line_for_each_row_below_its_head() -> None:
    assert columns(("who", "seconds"), [("we", "1"), ("they", "2")]).splitlines() == [
        "| who | seconds |", "| --- | ---: |", "| we | 1 |", "| they | 2 |",
    ]  # fmt: skip
    assert joined([3.0, 1.0, 2.0], 1) == "2.0 [1.0–3.0]"


def test_growth_tells_seconds_for_each_and_the_exponent_and_draws_a_panel() -> None:
    growth = Growth("images", (100, 200), ("100", "200"), ([1.0, 1.2, 1.1], [2.2, 2.3, 2.1]))
    assert "| 200 | 2.20 [2.10–2.30] | 11.00 |" in growth.table()
    assert "^1.00" in growth.table()
    picture = drawing([growth, growth])
    assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"
    assert picture.count("(images)^1.00") == 2
    assert "mathdefault" not in picture, "the ticks' labels are plain text"
