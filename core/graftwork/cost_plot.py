"""Accuracy against what it costs, and the strategies of which none is both cheaper and better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from graftwork.evidence import Interval
from graftwork.plots import INK, any_glyphs, as_svg, blank, colours, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

LOGARITHMIC_FROM = 8.0  # times the least cost
NAME_CHARACTERS = 18
CROWDED = 9.0  # points between two dots
FEW = 8  # strategies, whose names all have room
# Where a name may stand by its dot: offset, alignment. First up, away from the line of the best, which runs below.
PLACES = (
    (-5, 5, "right", "bottom"), (5, 5, "left", "bottom"), (-7, 0, "right", "center"), (7, 0, "left", "center"),
    (5, -5, "left", "top"), (-5, -5, "right", "top"), (0, 7, "center", "bottom"), (0, -7, "center", "top"),
)  # fmt: skip


@dataclass(frozen=True)
class Point:
    """One strategy in the plot."""

    name: str
    cost: float
    accuracy: Interval  # fractions of 1


def undominated(points: Sequence[Point]) -> list[Point]:
    """Return, cheapest first, those to which no other is preferable: as cheap and as good, and one of them more so."""

    def beats(other: Point, one: Point) -> bool:
        here, there = (one.cost, -one.accuracy.mean), (other.cost, -other.accuracy.mean)
        return there != here and there[0] <= here[0] and there[1] <= here[1]

    best = [one for one in points if not any(beats(other, one) for other in points)]
    return sorted(best, key=lambda one: (one.cost, one.name))


def cost_svg(points: Sequence[Point], label: str, tell: Callable[[float], str] = "{:g}".format) -> Markup:
    """Draw accuracy with its interval against cost; what isn't dominated is filled and joined, the rest hollow.

    `tell` puts a cost into words.
    """
    import matplotlib

    front = undominated(points)
    palette = colours([point.name for point in points])
    with matplotlib.rc_context(style(f"cost-{label}")):
        figure = blank(3.0, layout="constrained")
        axes = figure.add_subplot()
        _scale(axes, [point.cost for point in points], tell)
        for point in points:
            ends = [100 * point.accuracy.low, 100 * point.accuracy.high]
            axes.plot([point.cost] * 2, ends, color=palette[point.name], linewidth=5, alpha=0.3, solid_capstyle="butt")
            face = palette[point.name] if point in front else "none"
            axes.plot(point.cost, 100 * point.accuracy.mean, "o", color=palette[point.name], markersize=6, mfc=face)
        steps = [[point.cost for point in front], [100 * point.accuracy.mean for point in front]]
        axes.step(*steps, where="post", color=INK, linewidth=1, alpha=0.6, linestyle=(0, (2, 2)), zorder=0)
        axes.set_ylabel("test accuracy, %")
        axes.set_xlabel(label)
        with any_glyphs():
            figure.draw_without_rendering()  # so that places are known
            _name(axes, [*front, *(point for point in points if point not in front)], len(front))
        best = ", ".join(f"{point.name} {100 * point.accuracy.mean:.1f} % at {tell(point.cost)}" for point in front)
        return as_svg(figure, f"Test accuracy against {label}. None is both cheaper and better than: {best}")


def _scale(axes: Axes, costs: Sequence[float], tell: Callable[[float], str]) -> None:
    """Choose an axis on which the cheapest can be told apart as well."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.margins(x=0.12, y=0.1)
    if min(costs) > 0 and max(costs) > LOGARITHMIC_FROM * min(costs):
        axes.set_xscale("log")
        wide = max(costs) > 200 * min(costs)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tell(value)))


def _name(axes: Axes, points: Sequence[Point], first: int) -> None:
    """Write names by the dots where there is room; of many, after the first, only those clear of others."""
    from matplotlib.transforms import Bbox

    dots = [axes.transData.transform((point.cost, 100 * point.accuracy.mean)) for point in points]
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in dots]
    for place, point in enumerate(points):
        crowded = len(points) > FEW and sum(abs(dot - dots[place]).max() < CROWDED for dot in dots) > 1
        if place >= first and crowded and point.name != "scratch":
            continue
        for x, y, horizontal, vertical in PLACES:
            text = axes.annotate(
                shorten(point.name, NAME_CHARACTERS), (point.cost, 100 * point.accuracy.mean), (x, y), color=INK,
                textcoords="offset points", fontsize=9, ha=horizontal, va=vertical, in_layout=False,
            )  # fmt: skip
            box = text.get_window_extent()
            if _fits(box, axes.bbox) and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _fits(box: Bbox, frame: Bbox) -> bool:
    return bool(frame.x0 <= box.x0 and box.x1 <= frame.x1 + 4 and frame.y0 <= box.y0 and box.y1 <= frame.y1 + 8)
