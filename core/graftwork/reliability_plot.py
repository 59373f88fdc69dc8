"""The reliability diagram: accuracy against confidence, before and after scaling by a temperature.

DeGroot & Fienberg, The Statistician 1983; Guo et al., ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from graftwork.calibration import Reliability
from graftwork.plots import INK, as_svg, blank, colours, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LARGEST = 130.0  # square points: the dot of a bin that holds every answer


@dataclass(frozen=True)
class Bin:
    """The answers of one bin; fractions of 1, None in a bin without answers."""

    low: float  # not in it
    high: float  # in it
    count: int
    confidence: float | None  # mean
    accuracy: float | None


def bins(found: Reliability) -> list[Bin]:
    """Return the bins, empty ones as well, from no confidence to all."""
    width = 1 / len(found.counts)
    rows = zip(found.counts, found.confidence, found.correct, strict=True)
    return [
        Bin(place * width, (place + 1) * width, n, sure / n if n else None, right / n if n else None)
        for place, (n, sure, right) in enumerate(rows)
    ]


def reliability_svg(models: Mapping[str, tuple[Reliability, Reliability]], names: Sequence[str]) -> Markup:
    """Draw a panel for each model, plain bins hollow and scaled ones filled; `names` are all, as for the colours."""
    import matplotlib

    palette = colours(names)
    with matplotlib.rc_context(style("reliability")):
        figure = blank(2.4, layout="constrained")
        grid = figure.subplots(1, 2, sharey=True)
        for axes in grid[len(models) :]:
            axes.set_visible(False)
        for axes, (name, (plain, scaled)) in zip(grid, models.items(), strict=False):
            axes.plot([0, 100], [0, 100], color=INK, linestyle=(0, (2, 2)), linewidth=1, alpha=0.6, zorder=0)
            _draw(axes, bins(plain), palette[name], filled=False)
            _draw(axes, bins(scaled), palette[name], filled=True)
            axes.set(xlim=(0, 104), ylim=(0, 104), aspect="equal", xlabel="confidence, %")
            axes.set(xticks=range(0, 101, 25), yticks=range(0, 101, 25))
            axes.set_title(shorten(name, 20), loc="left")
        grid[0].set_ylabel("accuracy, %")
        errors = [f"{name} {_error(plain)}, scaled {_error(scaled)}" for name, (plain, scaled) in models.items()]
        return as_svg(figure, f"Accuracy against confidence. Gap over all answers, in points: {'; '.join(errors)}")


def _draw(axes: Axes, found: Sequence[Bin], colour: str, *, filled: bool) -> None:
    held = [one for one in found if one.count]
    whole = sum(one.count for one in held)
    sure = [100 * (one.confidence or 0.0) for one in held]
    right = [100 * (one.accuracy or 0.0) for one in held]
    areas = [12 + LARGEST * one.count / whole for one in held]
    face = colour if filled else "none"
    axes.scatter(sure, right, areas, facecolors=face, edgecolors=colour, linewidths=1.2, alpha=0.85, zorder=2)


def _error(found: Reliability) -> str:
    return f"{100 * found.error():.1f}"
