"""A report of the strategies that are there when others failed: it says which are missing, and DVC never records it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextvars import copy_context
from dataclasses import dataclass, replace
from pathlib import Path

from graftwork.files import make_folder
from graftwork.layout import Layout
from graftwork.progress import Progress
from graftwork_flows.runs import Run

HANGS = {"transfer", "finetune"}  # the stages whose failure leaves something to report


@dataclass(frozen=True)
class Partial:
    """A partial report: its files, and the page's copy, which stays."""

    folder: Path  # metrics.json, history.csv, confusion.csv …, as of a whole one
    page: Path
    missing: Mapping[str, str]  # strategy → what became of it


def missing_strategies(run: Run) -> dict[str, str]:
    """Return the strategies that couldn't be trained, and why; nothing where the failure leaves nothing to report."""
    if run.stop.wanted or {name.partition("@")[0] for name in run.failures} - HANGS:
        return {}
    found: dict[str, str] = {}
    for name, error in run.failures.items():
        stage, _, strategy = name.partition("@")
        found[strategy] = f"{stage}: {error.what}"
    return found


def report_without(run: Run, missing: Mapping[str, str], page: Path, progress: Progress) -> Partial:
    """Write what can be told without the missing strategies, and copy its page to `page`.

    It lies in .graftwork, so that `report` stays undone for DVC. Raises GraftworkError.
    """
    from graftwork.stages.report import partial_report

    folder = Layout(run.root).private / "partial"
    make_folder(folder)
    context = replace(run.context, progress=progress)
    run.computing.submit(copy_context().run, partial_report, context, folder, missing).result()
    make_folder(page.parent)
    shutil.copyfile(folder / "report.html", page)
    return Partial(folder, page, missing)
