"""Each run leaves a log of what was said and what went wrong; one that can't be written costs nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.layout import Layout
from graftwork_flows import run_log, server
from graftwork_flows.console import say
from tests.flows.conftest import call, edit, run


def logs(workspace: Path) -> list[Path]:
    return sorted(Layout(workspace).logs.glob("*.log"))


def test_a_run_leaves_what_it_said_and_how_each_stage_ended(computed: Path) -> None:
    before = set(logs(computed))
    said = call(computed, "graftwork", "run", "--without-prefect")
    (log,) = set(logs(computed)) - before
    text = log.read_text()
    assert all(line in text for line in said.splitlines())
    assert "finetune@full_copy: unchanged" in text and "ended well" in text


def test_a_failure_leaves_the_traceback_that_the_terminal_was_spared(computed: Path) -> None:
    (computed / "strategies" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom graftwork.hookspecs import hookimpl\n\n\n"
        "@dataclass(frozen=True)\nclass Broken:\n    @hookimpl\n    def loss_terms(self, step):\n"
        "        raise ArithmeticError('on purpose')\n\n\n"
        "@hookimpl\ndef register_plugins(register):\n    register.strategy('broken', Broken)\n"
    )
    edit(computed / "params.yaml", "  freeze:", "  bad: [full_copy, broken]\n  freeze:")
    done = run(computed, "graftwork", "run", "--without-prefect")
    assert done.returncode == 5 and "Traceback" not in done.stderr
    text = logs(computed)[-1].read_text()
    assert "Traceback" in text and "broken.py" in text and "ArithmeticError: on purpose" in text


def test_the_newest_logs_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path)
    for number in range(run_log.KEPT_FILES + 5):
        with run_log.run_log(layout, "graftwork run"):
            say(f"number {number}")
            with run_log.run_log(layout, "within"):
                say("and more")
    kept = logs(tmp_path)
    assert len(kept) == run_log.KEPT_FILES
    assert f"number {run_log.KEPT_FILES + 4}" in kept[-1].read_text() and "and more" in kept[-1].read_text()
    monkeypatch.setattr(run_log, "KEPT_BYTES", kept[-1].stat().st_size + 10)
    with run_log.run_log(layout, "graftwork run"):
        assert len(logs(tmp_path)) == 2


def test_a_log_that_cannot_be_written_costs_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".graftwork").write_text("a file where a folder should be")
    with run_log.run_log(Layout(tmp_path), "graftwork run"):
        say("here")
    assert capfd.readouterr() == ("here\n", "")


def test_the_logs_of_former_servers_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    for number in range(6):
        server._rotate(log)
        log.write_text(str(number))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "server.log": "5", "server.log.1": "4", "server.log.2": "3", "server.log.3": "2",
    }  # fmt: skip
