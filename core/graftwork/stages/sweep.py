"""Sweep: judge all cells of a sweep and write them up."""

from __future__ import annotations

from graftwork.files import write_json, write_text
from graftwork.provenance import provenance
from graftwork.stages import Context
from graftwork.stages.report import as_csv, local_code
from graftwork.sweep_findings import find_sweep
from graftwork.sweep_page import render_sweep
from graftwork.sweep_verdicts import sweep_headline


def sweep(context: Context, _item: str) -> None:
    """Write sweep/: metrics.json, curves.csv (for DVC's plots), report.html."""
    layout = context.layout
    findings = find_sweep(context.settings, layout)
    verdict = sweep_headline(findings)
    write_json(layout.sweep / "metrics.json", {**findings.metrics(), "verdict": verdict})
    curves = [(findings.name(one), one.labels_per_class, value) for one in findings.points for value in one.per_seed]
    write_text(layout.sweep / "curves.csv", as_csv([("strategy", "labels_per_class", "accuracy"), *curves]))
    page = render_sweep(findings, context.settings, provenance(layout.root, local_code(context)))
    write_text(layout.sweep / "report.html", page)
    context.progress.log(verdict[0])
