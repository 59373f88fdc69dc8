"""Sweep: judge all cells of a sweep and write them up."""

from __future__ import annotations

from graftwork.files import write_json
from graftwork.stages import Context
from graftwork.sweep_findings import find_sweep


def sweep(context: Context, _item: str) -> None:
    """Write sweep/: metrics.json, curves.csv (for DVC's plots), report.html."""
    layout = context.layout
    findings = find_sweep(context.settings, layout)
    write_json(layout.sweep / "metrics.json", {**findings.metrics(), "verdict": "…"})
