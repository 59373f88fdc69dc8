"""The report of a sweep as one HTML page that needs nothing else."""

from __future__ import annotations

from typing import Any

from graftwork.cost_plot import Point as CostPoint
from graftwork.cost_plot import cost_svg, undominated
from graftwork.evidence import RULES
from graftwork.label_plot import LabelCurve, label_curves_svg
from graftwork.page import SYMBOLS, environment
from graftwork.provenance import Provenance
from graftwork.settings import Settings
from graftwork.sweep_findings import SweepFindings
from graftwork.sweep_verdicts import equivalent, labels, sweep_headline
from graftwork.verdicts import size


def render_sweep(findings: SweepFindings, settings: Settings, provenance: Provenance) -> str:
    """Return the page as one self-contained document; equal arguments give equal bytes."""
    pages = environment()
    pages.filters |= {"equivalent": equivalent, "labels": labels}
    first, *rest = sweep_headline(findings)
    return pages.get_template("sweep.html.j2").render(
        found=findings, settings=settings, provenance=provenance, rules=RULES, symbols=SYMBOLS, first=first,
        rest=" ".join(rest), curves=_curves(findings), **_costs(findings),
    )  # fmt: skip


def _curves(findings: SweepFindings) -> Any:
    """Draw accuracy against labels for every source and strategy."""
    pairs = [(source, name) for source in findings.sources for name in findings.strategies if name != "scratch"]
    control = [_curve(findings, source, "scratch") for source, _ in pairs]
    return label_curves_svg(control, [_curve(findings, source, name) for source, name in pairs])


def _curve(findings: SweepFindings, source: str, strategy: str) -> LabelCurve:
    points = findings.curve(source, strategy)
    budgets = tuple(one.labels_per_class for one in points)
    return LabelCurve(findings.name(points[0]), budgets, tuple(one.accuracy for one in points))


def _costs(findings: SweepFindings) -> dict[str, Any]:
    """Draw accuracy against bytes, and against seconds where this machine knows them all, with the most labels."""
    held = findings.with_labels(findings.budgets[-1])
    once = [one for one in held if one.judgement or one.source == findings.sources[0]]  # scratch has no source
    stored = [CostPoint(findings.name(one), one.stored_bytes, one.accuracy) for one in once]
    timed = [CostPoint(findings.name(one), one.seconds, one.accuracy) for one in once if one.seconds is not None]
    timed = timed if len(timed) == len(stored) else []
    return {
        "stored_plot": cost_svg(stored, "stored", lambda value: size(round(value))),
        "timed_plot": cost_svg(timed, "seconds per seed") if timed else None,
        "undominated": [point.name for point in undominated(timed or stored)],
    }
