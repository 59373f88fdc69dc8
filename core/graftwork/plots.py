"""The report's plots, drawn by matplotlib without pyplot, as inline SVG in the page's own text colour."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

from graftwork.evidence import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History = Sequence[Mapping[str, float]]  # rows with seed, epoch, validation_accuracy

INK = "#010203"  # stands for the page's text colour, which SVG calls currentColor
CONTROL = "#80848c"
# After Okabe & Ito, darkened where needed to keep 3:1 against white as well as against near-black.
COLOURS = ("#0a78c2", "#d55e00", "#00956d", "#c0629a", "#a8800b", "#7a6fd0")
WIDTH_INCHES = 4.2  # a phone shows the text at about its nominal 10 px


@dataclass(frozen=True)
class Spread:
    """One row of the plot of accuracies, all fractions of 1."""

    name: str
    accuracy: Interval
    per_seed: Sequence[float]


@dataclass(frozen=True)
class Curve:
    """Validation accuracy against epoch, over seeds; fractions of 1."""

    epochs: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]  # the lowest of all seeds
    high: tuple[float, ...]


def curve(history: History) -> Curve:
    """Gather a history by epoch."""
    by_epoch: dict[float, list[float]] = {}
    for row in history:
        by_epoch.setdefault(row["epoch"], []).append(row["validation_accuracy"])
    epochs = tuple(sorted(by_epoch))
    values = [by_epoch[epoch] for epoch in epochs]
    mean = tuple(sum(found) / len(found) for found in values)
    return Curve(epochs, mean, tuple(map(min, values)), tuple(map(max, values)))


def colours(names: Sequence[str]) -> dict[str, str]:
    """Give every strategy its colour: grey for scratch, then the palette, again and again."""
    others = [name for name in names if name != "scratch"]
    return {"scratch": CONTROL} | {name: COLOURS[row % len(COLOURS)] for row, name in enumerate(others)}


def shorten(text: str, characters: int) -> str:
    """Return it on one line, with an ellipsis where it is longer."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= characters else line[: characters - 1] + "…"


def draw_spreads(axes: Axes, rows: Sequence[Spread]) -> None:
    """Draw under each name its seeds as dots, the mean and its interval; scratch's mean as a dashed line."""
    palette = colours([row.name for row in rows])
    for place, row in enumerate(rows):
        colour, accuracy = palette[row.name], row.accuracy
        ends = [100 * accuracy.low, 100 * accuracy.high]
        axes.plot(ends, [place, place], color=colour, linewidth=8, alpha=0.3, solid_capstyle="butt")
        seeds = [100 * value for value in row.per_seed]
        axes.plot(seeds, [place] * len(seeds), "o", color=colour, markersize=4.5, markeredgewidth=0)
        axes.plot(100 * accuracy.mean, place, "|", color=INK, markersize=14, markeredgewidth=2)
        axes.text(0, place - 0.27, shorten(row.name, 40), color=INK, transform=axes.get_yaxis_transform())
        if row.name == "scratch":
            dashed = (0.0, (2.0, 2.0))
            axes.axvline(100 * accuracy.mean, color=INK, linestyle=dashed, linewidth=1, alpha=0.6, zorder=0)
    axes.set_ylim(len(rows) - 0.55, -0.8)
    axes.set_yticks([])
    axes.margins(x=0.06)
    axes.set_xlabel("test accuracy, %")
    axes.spines["left"].set_visible(False)


def spreads_svg(rows: Sequence[Spread]) -> Markup:
    """Return the strategies' accuracies as SVG."""
    import matplotlib

    with matplotlib.rc_context(style("spreads")):
        height = 0.55 + 0.55 * len(rows)
        figure = blank(height)
        axes = figure.add_axes((0.02, 0.47 / height, 0.95, 1 - 0.5 / height))
        draw_spreads(axes, rows)
        means = "; ".join(f"{row.name} {100 * row.accuracy.mean:.1f} %" for row in rows)
        return as_svg(figure, f"Test accuracy of each strategy: its seeds, mean and interval. {means}")


def curves_svg(histories: Mapping[str, History], source: History) -> Markup:
    """Return a small panel for each strategy, scratch behind it in grey, and one for a source that was trained here."""
    import matplotlib

    with matplotlib.rc_context(style("curves")):
        figure = blank(0.2 + 1.45 * curve_lines(histories, source), layout="constrained")
        names = draw_curves(figure, histories, source)
        listed = ", ".join([*names, *(["the source model"] if source else [])])
        return as_svg(figure, f"Validation accuracy in percent against epoch, scratch behind each: {listed}")


def curve_lines(histories: Mapping[str, History], source: History = (), columns: int = 2) -> int:
    """Return how many lines of panels `draw_curves` needs."""
    return -(-(max(1, len(histories) - 1) + bool(source)) // columns)


def draw_curves(
    figure: Figure, histories: Mapping[str, History], source: History = (), columns: int = 2
) -> list[str]:  # fmt: skip
    """Draw the panels into an empty figure; return the names of the strategies that have one."""
    names = [name for name in histories if name != "scratch"] or ["scratch"]
    panels, palette = len(names) + bool(source), colours(list(histories))
    lines = curve_lines(histories, source, columns)
    grid = figure.subplots(lines, columns, sharey=True, squeeze=False).flatten()
    for axes, name in zip(grid, names, strict=False):
        _draw_curve(axes, curve(histories["scratch"]), CONTROL, "--")
        if name != "scratch":
            _draw_curve(axes, curve(histories[name]), palette[name], "-")
        axes.set_title(shorten(name, 20), loc="left")
    if source:
        _draw_curve(grid[len(names)], curve(source), INK, "-")
        grid[len(names)].set_title("source model", loc="left")
    for axes in grid[panels:]:
        axes.set_visible(False)
    for axes in grid[max(panels - columns, 0) : panels]:
        axes.set_xlabel("epoch")
    return names


def _draw_curve(axes: Axes, found: Curve, colour: str, line: str) -> None:
    from matplotlib.ticker import MaxNLocator

    percents = [[100 * value for value in values] for values in (found.mean, found.low, found.high)]
    axes.fill_between(found.epochs, percents[1], percents[2], color=colour, alpha=0.2, linewidth=0)
    marker = "o" if len(found.epochs) == 1 else ""
    axes.plot(found.epochs, percents[0], line, color=colour, marker=marker, linewidth=1.6)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=4, steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.6)


def cividis(share: float) -> str:
    """Return a cell's style: the background of a share from 0 to 1, and the text colour that reads on it."""
    background, text = cell_colours(share)
    return f"background:{background};color:{text}"


def cell_colours(share: float) -> tuple[str, str]:
    """Return the background of a share from 0 to 1, and the text colour that reads on it."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    colour = colormaps["cividis"](share)
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in colour[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue  # as WCAG 2 has it
    text = "#000" if luminance > 0.179 else "#fff"  # where both contrast alike
    return to_hex(colour), text


def style(salt: str) -> dict[Any, Any]:
    """Return matplotlib's settings for one plot; the salt makes its ids its own."""
    inks = ("text.", "axes.edge", "axes.label", "axes.title", "xtick.", "ytick.")
    return {
        **dict.fromkeys((f"{ink}color" for ink in inks), INK),
        "svg.fonttype": "none", "svg.hashsalt": f"graftwork-{salt}", "text.parse_math": False,
        "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 10,
        "axes.linewidth": 0.7, "xtick.major.width": 0.7, "ytick.major.width": 0.7,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip


def blank(height_inches: float, layout: Any = None) -> Figure:
    """Return an empty figure as wide as a phone, without pyplot's global state."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=72, layout=layout)
    FigureCanvasSVG(figure)
    return figure


@contextmanager
def any_glyphs() -> Iterator[None]:
    """Let matplotlib lay out text of any script: the browser has fonts that it hasn't."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        yield


def as_svg(figure: Figure, label: str) -> Markup:
    """Return a figure as SVG in the page's text colour, named for those who can't see it."""
    text = io.StringIO()
    with any_glyphs():
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", drawing, flags=re.DOTALL)
    drawing = re.sub(r'<g id="[^"]*"', "<g", drawing)  # figure_1 and the like, equal in all drawings
    box = re.search(r'viewBox="[^"]*"', drawing)
    assert box is not None, "matplotlib writes a viewBox"
    head = f'<svg class="plot" role="img" aria-label="{escape(label)}" {box[0]}>'
    body = drawing[drawing.index(">") + 1 :].replace("xlink:href", "href").replace(INK, "currentColor")
    return Markup(head + body)
