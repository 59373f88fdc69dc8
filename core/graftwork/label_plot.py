"""Accuracy against labels: a panel for each transfer, scratch behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from graftwork.evidence import Interval
from graftwork.plots import CONTROL, INK, as_svg, blank, colours, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LabelCurve:
    """A strategy's accuracies, fractions of 1, at rising numbers of labels a class."""

    name: str
    labels: tuple[int, ...]
    accuracies: tuple[Interval, ...]


def label_curves_svg(control: Sequence[LabelCurve], transfers: Sequence[LabelCurve]) -> Markup:
    """Return a panel for each transfer; `control` is scratch's curve, one for each of them."""
    import matplotlib

    palette = colours([curve.name for curve in transfers])
    lines = -(-len(transfers) // 2)
    with matplotlib.rc_context(style("labels")):
        figure = blank(0.35 + 1.6 * lines, layout="constrained")
        grid = figure.subplots(lines, 2, sharex=True, sharey=True, squeeze=False).flatten()
        for axes, scratch, curve in zip(grid, control, transfers, strict=False):
            _draw(axes, scratch, CONTROL, "--")
            _draw(axes, curve, palette[curve.name], "-")
            axes.set_title(shorten(curve.name, 22), loc="left")
            axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)
        for axes in grid[len(transfers) :]:
            axes.set_visible(False)
        for axes in grid[max(len(transfers) - 2, 0) : len(transfers)]:
            axes.tick_params(labelbottom=True)
            axes.set_xlabel("labels a class")
        named = ", ".join(curve.name for curve in transfers)
        return as_svg(figure, f"Test accuracy in percent against labels a class, scratch behind each: {named}")


def _draw(axes: Axes, curve: LabelCurve, colour: str, line: str) -> None:
    from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

    low, high, mean = (
        [100 * getattr(interval, end) for interval in curve.accuracies] for end in ("low", "high", "mean")
    )
    axes.set_xscale("log")
    axes.fill_between(curve.labels, low, high, color=colour, alpha=0.2, linewidth=0)
    axes.plot(curve.labels, mean, line, color=colour, marker="o", markersize=3.5, linewidth=1.6)
    axes.xaxis.set_major_locator(FixedLocator(list(curve.labels)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:.0f}"))
