"""A picture of the strategies' accuracies as PNG, for places that show no SVG."""

from __future__ import annotations

import base64
import io
from typing import Any


def gains_png_url(metrics: dict[str, Any]) -> str:
    """Return a data URL of the picture: for each strategy its seeds, mean and interval, scratch's mean as a line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = metrics["strategies"]
    figure = Figure(figsize=(7, 0.9 + 0.55 * len(found)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for row, name in enumerate(reversed(list(found))):
        accuracy = found[name]["accuracy"]
        axes.plot([100 * accuracy["low"], 100 * accuracy["high"]], [row, row], color="#4477aa", linewidth=6, alpha=0.35)
        axes.plot([100 * value for value in accuracy["per_seed"]], [row] * len(accuracy["per_seed"]), "o", color="#4477aa")
        axes.plot(100 * accuracy["mean"], row, "D", color="#222222")
    axes.axvline(100 * found["scratch"]["accuracy"]["mean"], color="#888888", linestyle=":", linewidth=1.5)
    axes.set_yticks(range(len(found)), list(reversed(list(found))))
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.set_xlabel("test accuracy, %: a dot for each seed, the mean with its interval; dotted: scratch")
    axes.spines[["top", "right"]].set_visible(False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return "data:image/png;base64," + base64.b64encode(picture.getvalue()).decode()
