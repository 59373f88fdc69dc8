"""The report as one HTML page that needs nothing else: the verdict first, then what it rests on."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from graftwork.bootstrap import REPEATS
from graftwork.class_tables import class_tables
from graftwork.cost_plot import Point, cost_svg, undominated
from graftwork.errors import listed
from graftwork.evidence import RULES, Interval
from graftwork.findings import Findings
from graftwork.plots import Spread, curve, curves_svg, spreads_svg
from graftwork.prepared_data import IMBALANCED, MOST_SHOWN
from graftwork.provenance import Provenance
from graftwork.reliability_plot import bins, reliability_svg
from graftwork.scoring import TITLES
from graftwork.settings import Settings, Use
from graftwork.verdicts import corrected_for, figure, lead, others, percent, points, size

SYMBOLS = {"positive": "▲", "neutral": "=", "negative": "▼", "inconclusive": "?"}
# Where a figure and what belongs to it must not be torn apart: "82.9 %", "+3.5 [+1.5, +5.5]".
TIES = re.compile(r"(?<=\d) (?=[%\[])|(?<=\d,) (?=[+−])")


@dataclass(frozen=True)
class Sample:
    """A picture of training images as a data URL, with what it shows."""

    name: str
    url: str
    caption: str


def render(
    findings: Findings, settings: Settings, provenance: Provenance, samples: dict[str, Path],
    missing: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """Return the page as one self-contained document; equal arguments give equal bytes.

    `missing` are strategies that the findings lack, and why.
    """
    page = environment().get_template("report.html.j2")
    return page.render(
        found=findings, settings=settings, provenance=provenance, rules=RULES, symbols=SYMBOLS, repeats=REPEATS,
        missing=missing or {},
        samples=[_sample(name, path, settings) for name, path in samples.items()],
        **_sentences(findings), **_plots(findings), **class_tables(findings), **_costs(findings),
        **_calibration(findings), **_scores(findings), data=findings.data, imbalanced=IMBALANCED, shown=MOST_SHOWN,
    )  # fmt: skip


def environment() -> Environment:
    """Return what turns a template into a page: everything is escaped, and nothing may be missing."""
    found = Environment(
        autoescape=True,
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "figure": figure, "percent": _percent, "interval": _interval, "points": points, "range": _range,
        "stack": _stack, "size": size, "listed": listed,
    }  # fmt: skip
    return found


def _sentences(findings: Findings) -> dict[str, Any]:
    """Return the headline's sentence on the chosen strategy, and the clauses on the others."""
    first, rest = lead(findings), " ".join(others(findings))
    return {"lead": _tied(first), "rest": _tied(rest), "corrected": corrected_for(findings)}


def _tied(text: str) -> str:
    return TIES.sub("\N{NO-BREAK SPACE}", text)


def _plots(findings: Findings) -> dict[str, Any]:
    """Draw the plots, and return the numbers of the curves with them."""
    histories = {found.name: found.history for found in findings.strategies}
    rows = [Spread(found.name, found.accuracy, found.per_seed) for found in findings.strategies]
    curves, source = {name: curve(history) for name, history in histories.items()}, findings.source_history
    return {
        "spreads": spreads_svg(rows),
        "curves": curves_svg(histories, source),
        "curve_rows": {**curves, **({"source model": curve(source)} if source else {})},
    }


def _costs(findings: Findings) -> dict[str, Any]:
    """Draw accuracy against seconds, where this machine knows them all, and against bytes."""
    stored = [Point(one.name, one.cost.stored_bytes, one.accuracy) for one in findings.strategies]
    timed = [Point(one.name, one.seconds, one.accuracy) for one in findings.strategies if one.seconds is not None]
    timed = timed if len(timed) == len(stored) else []
    return {
        "stored_plot": cost_svg(stored, "stored", lambda value: size(round(value))),
        "timed_plot": cost_svg(timed, "seconds per seed") if timed else None,
        "stored_best": [point.name for point in undominated(stored)],
        "timed_best": [point.name for point in undominated(timed)],
    }


def _calibration(findings: Findings) -> dict[str, Any]:
    """Draw the reliability of scratch and of the chosen strategy, and return its bins."""
    shown = {found.name: found.reliability for found in (findings.scratch, findings.chosen)}
    tables = {name: list(zip(*map(bins, both), strict=True)) for name, both in shown.items()}
    names = [found.name for found in findings.strategies]
    return {"reliability": reliability_svg(shown, names), "reliability_rows": tables}


def _scores(findings: Findings) -> dict[str, Any]:
    """Return the scores' table: a row for each score, a column for each source and one for no training at all."""
    names = [one.source for one in findings.scores]
    rows = [
        (title, [one.scores[key] for one in findings.scores], findings.scores[0].untrained.get(key))
        for key, title in TITLES.items()
    ]
    return {"score_columns": [*names, "untrained"], "score_rows": rows}


def _sample(name: str, path: Path, settings: Settings) -> Sample:
    augmentation = settings.data[name].augmentation
    image = settings.image_of(name)
    if image.size == 1:
        views = "A row for each, a column for each feature, from its least value here, black, to its greatest, white."
    elif augmentation:
        views = f"Top row: as they are. Below: the same, augmented anew each time by {_stack(augmentation)}."
    else:
        views = "As they are; this data is not augmented."
    url = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    return Sample(name, url, views)


def _stack(uses: Sequence[Use | str]) -> str:
    """Return plugins as `full_copy + freeze (batch_norm: eval)`."""
    return " + ".join(_use(use) for use in uses)


def _use(use: Use | str) -> str:
    if isinstance(use, str):
        return use
    settings = ", ".join(f"{key}: {value}" for key, value in use.settings.items())
    return f"{use.name} ({settings})" if settings else use.name


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else percent(fraction)


def _range(interval: Interval) -> str:
    return points(interval).partition(" ")[2]


def _interval(interval: Interval) -> str:
    return f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]"
