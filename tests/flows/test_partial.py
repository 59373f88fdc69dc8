"""What is told when strategies failed and others didn't, and what DVC makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.errors import DataError, StateError, TrainingError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork_flows.launch import bring_up_to_date
from graftwork_flows.partial import missing_strategies, report_without
from graftwork_flows.runs import Run, begin, run_plainly
from tests.flows.conftest import call, edit, run

BROKEN = """
from dataclasses import dataclass
from graftwork.hookspecs import hookimpl

@dataclass(frozen=True)
class Broken:
    @hookimpl
    def loss_terms(self, step):
        raise ArithmeticError("<b>on purpose</b>")

@hookimpl
def register_plugins(register):
    register.strategy("broken", Broken)
"""


@pytest.fixture
def broken(computed: Path) -> Path:
    """A computed workspace with a strategy more, which fails."""
    (computed / "strategies" / "broken.py").write_text(BROKEN)
    edit(computed / "params.yaml", "  freeze:", "  bad: [full_copy, broken]\n  freeze:")
    return computed


def test_the_report_of_the_others_says_what_is_missing_and_dvc_keeps_the_report_undone(broken: Path) -> None:
    recorded = (broken / "report" / "metrics.json").read_text()
    page = Layout(broken).kept_report("some-run")
    with begin(broken) as whole:
        run_plainly(whole, lambda stage: Quiet())
        missing = missing_strategies(whole)
        partial = report_without(whole, missing, page, Quiet())
    assert missing == {"bad": "finetune: ArithmeticError: <b>on purpose</b>"}
    text = page.read_text()
    assert "This report is partial" in text and "&lt;b&gt;on purpose" in text and "<b>" not in text
    figures = read_json(partial.folder / "metrics.json")
    assert set(figures["strategies"]) == {"scratch", "full_copy", "freeze"} and figures["missing"] == missing
    assert (broken / "report" / "metrics.json").read_text() == recorded
    assert "report:" in call(broken, "dvc", "status")


def test_without_prefect_it_is_told_where_it_is_and_the_run_fails(broken: Path) -> None:
    done = run(broken, "graftwork", "run", "--without-prefect")
    assert done.returncode == TrainingError.exit_code and "on purpose" in done.stderr
    (page,) = (broken / ".graftwork" / "reports").iterdir()
    assert f"report without bad: {page}" in done.stdout


def test_a_failure_before_the_strategies_leaves_nothing_to_report(computed: Path) -> None:
    edit(computed / "params.yaml", "{dataset: npz, path: data/source.npz", "{dataset: npz, path: data/target.npz")
    (computed / "data" / "target.npz").write_bytes(b"no archive")
    told: list[Run] = []
    with pytest.raises(DataError, match="npz"):
        bring_up_to_date(computed, (), quiet=True, tell=told.append)
    assert missing_strategies(told[0]) == {}


def test_without_the_control_there_is_no_report(computed: Path) -> None:
    with begin(computed) as whole, pytest.raises(StateError, match="scratch, the control, is missing"):
        report_without(whole, {"scratch": "finetune: no"}, Layout(computed).kept_report("x"), Quiet())
