"""What a run with other settings leaves at home when its worktree goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.errors import StateError
from graftwork.layout import Layout
from graftwork_flows.initialise import initialise
from graftwork_flows.sandbox import Sandbox, sandbox
from tests.flows.conftest import call, commit


def test_checkpoints_of_a_run_that_was_stopped_stay_for_the_next_with_the_same_settings(workspace: Path) -> None:
    for name in ("first", "second"):
        with sandbox(workspace, ["finetune.epochs=1"], name) as box:
            there = Layout(box.root).checkpoints("full_copy", "seed-0")
            assert there.exists() == (name == "second")
            there.mkdir(parents=True, exist_ok=True)
        assert not box.root.exists()
    assert Layout(workspace).checkpoints("full_copy", "seed-0").is_dir()


def report(box: Sandbox) -> None:
    """Write what a run leaves."""
    folder = Layout(box.root).report
    folder.mkdir(exist_ok=True)
    (folder / "report.html").write_text("the page")


def test_a_workspace_that_was_made_before_git_keeps_what_came_of_a_run(tmp_path: Path) -> None:
    home = tmp_path / "home"
    initialise(home)
    (home / "dvc.yaml").write_text("stages: {}\n")  # all of them have run
    call(home, "git", "init", "-q")
    commit(home)
    with sandbox(home, ["seed=1"], "other") as box:
        report(box)
        said = box.keep()
    assert Layout(home).kept_report("other").read_text() == "the page" and "experiment other" in said
    assert "other" in call(home, "dvc", "exp", "list", "--name-only")
    assert call(home, "git", "status", "--porcelain") == ""


def test_an_experiment_that_can_not_be_saved_says_why_and_leaves_the_report(workspace: Path) -> None:
    with sandbox(workspace, ["seed=1"], "other") as box:
        report(box)
        (box.root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n")
        with pytest.raises(
            StateError, match=r"isn't kept as an experiment: dvc exp save .*Only supported for Git"
        ) as error:
            box.keep()
    page = Layout(workspace).kept_report("other")
    assert str(page) in error.value.where and page.read_text() == "the page"
