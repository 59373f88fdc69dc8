"""Report: evaluate every strategy on the test images, judge, and write it up."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from graftwork.errors import StateError
from graftwork.files import write_json, write_text
from graftwork.findings import Findings, find
from graftwork.page import render
from graftwork.params_file import uses
from graftwork.provenance import provenance
from graftwork.stages import Context
from graftwork.verdicts import headline


def report(context: Context, _item: str) -> None:
    """Write report/: metrics.json, history.csv, accuracy.csv, confusion.csv (for DVC's plots), report.html."""
    _write(context, context.layout.report, {})


def partial_report(context: Context, folder: Path, missing: Mapping[str, str]) -> None:
    """Write the same files to another folder, of the strategies that aren't missing; the page says which are, and why.

    Raises StateError where scratch is missing: without the control there is nothing to tell.
    """
    settings = context.settings
    there = {name: stack for name, stack in settings.strategies.items() if name not in missing}
    if "scratch" not in there:
        raise StateError(
            "No report of the others can be made: scratch, the control, is missing", where=missing.get("scratch", ""),
            fix="mend what it says",
        )  # fmt: skip
    _write(replace(context, settings=settings.model_copy(update={"strategies": there})), folder, missing)


def _write(context: Context, folder: Path, missing: Mapping[str, str]) -> None:
    layout = context.layout
    findings = find(context.settings, context.registry, layout)
    lacking = {"missing": dict(missing)} if missing else {}
    write_json(folder / "metrics.json", {**findings.metrics(), "verdict": headline(findings), **lacking})
    for name, rows in _tables(findings).items():
        write_text(folder / name, as_csv(rows))
    shown = [name for name in (context.settings.source, "target") if name in context.settings.data]
    samples = {name: layout.samples(name) for name in shown}
    page = render(findings, context.settings, provenance(layout.root, local_code(context)), samples, missing)
    write_text(folder / "report.html", page)
    context.progress.log(headline(findings))


def _tables(findings: Findings) -> dict[str, Iterable[Sequence[object]]]:
    names = findings.classes
    history = [
        (found.name, int(row["seed"]), int(row["epoch"]), row["loss"], row["validation_accuracy"])
        for found in findings.strategies
        for row in found.history
    ]
    accuracy = [
        (found.name, found.accuracy.mean, found.accuracy.low, found.accuracy.high) for found in findings.strategies
    ]
    confusion = [
        (names[actual], names[predicted])
        for actual, row in enumerate(findings.chosen.confusion)
        for predicted, count in enumerate(row)
        for _ in range(count)
    ]
    return {
        "history.csv": [("strategy", "seed", "epoch", "loss", "validation_accuracy"), *history],
        "accuracy.csv": [("strategy", "accuracy", "low", "high"), *accuracy],
        "confusion.csv": [("actual", "predicted"), *confusion],
    }


def local_code(context: Context) -> dict[str, str]:
    """Return the sha256 of the user's own plugin files that the settings name: code that no package vouches for."""
    return context.registry.local_code((kind, use) for kind, use, _ in uses(context.settings))


def as_csv(rows: Iterable[Sequence[object]]) -> str:
    """Return rows, the heads first, as text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
