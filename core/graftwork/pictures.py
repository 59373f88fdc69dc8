"""Pictures of a report's figures as PNG, for places that show no SVG; drawn from the report's own files."""

from __future__ import annotations

import base64
import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.evidence import Interval
from graftwork.plots import Spread, any_glyphs, cell_colours, curve_lines, draw_curves, draw_spreads, shorten, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH_INCHES, DOTS = 6.4, 110
PANELS = 3  # of learning curves, side by side
NAMED_CLASSES = 24  # of more, names and counts would not be read: the matrix is colours alone

Counts = Sequence[Sequence[int]]  # rows: true class, columns: predicted


def gains_png_url(metrics: Mapping[str, Any]) -> str:
    """Return a data URL: for each strategy its seeds, mean and interval; scratch's mean as a line."""
    rows = [_spread(name, found["accuracy"]) for name, found in metrics["strategies"].items()]
    with _picture("picture", 0.6 + 0.55 * len(rows)) as (figure, drawn):
        axes = figure.add_subplot()
        draw_spreads(axes, rows)
        axes.set_xlabel("test accuracy, %: a dot for each seed, the mean with its interval; dashed: scratch")
    return _url(drawn)


def curves_png_url(history: Path, names: Sequence[str]) -> str:
    """Return a data URL: validation accuracy against epoch in history.csv, a panel for each of the strategies."""
    histories: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for row in _rows(history):
        name = row.pop("strategy")
        histories[name].append({key: float(value) for key, value in row.items()})
    with _picture("curves", 0.3 + 1.6 * curve_lines(histories, columns=PANELS)) as (figure, drawn):
        draw_curves(figure, histories, columns=PANELS)
        figure.supylabel("validation accuracy, %", fontsize="medium")
    return _url(drawn)


def confusion_png_url(confusion: Path) -> str:
    """Return a data URL: what is taken for what, of confusion.csv; the colour is a share of the true class."""
    pairs = Counter((row["actual"], row["predicted"]) for row in _rows(confusion))
    classes = list(dict.fromkeys(actual for actual, _ in pairs))
    classes += [name for name in dict.fromkeys(predicted for _, predicted in pairs) if name not in classes]
    counts = [[pairs[actual, predicted] for predicted in classes] for actual in classes]
    side = min(0.42 * len(classes), WIDTH_INCHES - 1.8)
    with _picture("confusion", 1.4 + side, 1.8 + side) as (figure, drawn):
        _draw_confusion(figure.add_subplot(), classes, counts)
    return _url(drawn)


def _draw_confusion(axes: Axes, classes: Sequence[str], counts: Counts) -> None:
    """Draw the matrix in its rows' shares, with names and counts while they can be read."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    axes.imshow(shares, cmap="cividis", vmin=0, vmax=1, aspect="equal")
    axes.set_ylabel("true class")
    axes.set_xlabel("predicted")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    if len(classes) > NAMED_CLASSES:
        return
    names = [shorten(name, 14) for name in classes]
    axes.set_yticks(range(len(names)), names)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
    for row, line in enumerate(counts):
        for column, count in enumerate(line):
            colour = cell_colours(shares[row][column])[1]
            axes.text(column, row, f"{count:,}", ha="center", va="center", color=colour, fontsize="small")


@contextmanager
def _picture(
    salt: str, height_inches: float, width_inches: float = WIDTH_INCHES
) -> Iterator[tuple[Figure, io.BytesIO]]:  # fmt: skip
    """Yield an empty figure and what it is written to, as PNG, when the block ends well."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = io.BytesIO()
    with matplotlib.rc_context(style(salt)), any_glyphs():
        figure = Figure(figsize=(width_inches, height_inches), dpi=DOTS, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        yield figure, drawn
        figure.savefig(drawn, format="png")


def _url(drawn: io.BytesIO) -> str:
    return "data:image/png;base64," + base64.b64encode(drawn.getvalue()).decode()


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _spread(name: str, accuracy: Mapping[str, Any]) -> Spread:
    interval = Interval(accuracy["mean"], accuracy["low"], accuracy["high"])
    return Spread(name, interval, accuracy["per_seed"])
