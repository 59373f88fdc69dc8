"""Seconds at rising amounts, as a table and as a panel of the plot."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.measuring import columns, joined, slope
from graftwork.plots import COLOURS, INK, blank, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 2.1
UNITS = (("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9))


@dataclass(frozen=True)
class Growth:
    """Seconds of every round at rising amounts."""

    what: str
    amounts: tuple[float, ...]
    labels: tuple[str, ...]
    seconds: tuple[list[float], ...]

    @property
    def medians(self) -> list[float]:
        return [statistics.median(found) for found in self.seconds]

    @property
    def slope(self) -> float:
        return slope(self.amounts, self.medians)

    def table(self) -> str:
        """Return it in Markdown, with the exponent."""
        each = [median / amount for median, amount in zip(self.medians, self.amounts, strict=True)]
        unit, factor = next((unit, factor) for unit, factor in UNITS if max(each) * factor >= 1)
        rows = [
            (label, joined(found), f"{factor * value:,.2f}")
            for label, found, value in zip(self.labels, self.seconds, each, strict=True)
        ]
        head = self.what, "seconds", f"{unit} for each"
        return f"{columns(head, rows)}\n\nSeconds ∝ ({self.what})^{self.slope:.2f}."


def drawing(found: Sequence[Growth]) -> str:
    """Return a panel for each as an SVG file on white: the rounds as dots, a line through the medians."""
    import matplotlib

    with matplotlib.rc_context(style("growth")):
        figure = blank(PANEL_INCHES * len(found), layout="constrained")
        panels = figure.subplots(len(found), 1, squeeze=False).flatten()
        for axes, one, colour in zip(panels, found, COLOURS, strict=False):
            _draw(axes, one, colour)
        text = io.StringIO()
        figure.savefig(text, format="svg", facecolor="white", metadata={"Date": None})
    return text.getvalue()


def _draw(axes: Axes, one: Growth, colour: str) -> None:
    from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, NullLocator, StrMethodFormatter

    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(FixedLocator(list(one.amounts)))
    axes.xaxis.set_major_formatter(EngFormatter(places=0, sep=""))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
    axes.plot(one.amounts, one.medians, color=colour, linewidth=1.6)
    for amount, seconds in zip(one.amounts, one.seconds, strict=True):
        axes.plot([amount] * len(seconds), seconds, "o", color=colour, markersize=4, markeredgewidth=0, alpha=0.7)
    axes.grid(color=INK, alpha=0.12, linewidth=0.6)
    axes.set_xlabel(one.what)
    axes.set_ylabel("seconds")
    axes.set_title(f"seconds ∝ ({one.what})^{one.slope:.2f}", loc="left")
