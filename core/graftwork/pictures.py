"""A picture of the strategies' accuracies as PNG, for places that show no SVG."""

from __future__ import annotations

import base64
import io
from typing import Any

from graftwork.evidence import Interval
from graftwork.plots import Spread, draw_spreads, style


def gains_png_url(metrics: dict[str, Any]) -> str:
    """Return a data URL: for each strategy its seeds, mean and interval; scratch's mean as a line."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [_spread(name, found["accuracy"]) for name, found in metrics["strategies"].items()]
    picture = io.BytesIO()
    with matplotlib.rc_context(style("picture")):
        size = (6.4, 0.6 + 0.55 * len(rows))
        figure = Figure(figsize=size, dpi=110, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        draw_spreads(axes, rows)
        axes.set_xlabel("test accuracy, %: a dot for each seed, the mean with its interval; dashed: scratch")
        figure.savefig(picture, format="png")
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()


def _spread(name: str, accuracy: dict[str, Any]) -> Spread:
    interval = Interval(accuracy["mean"], accuracy["low"], accuracy["high"])
    return Spread(name, interval, accuracy["per_seed"])
