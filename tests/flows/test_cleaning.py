"""`clean` removes what can be made again or is of no use, says so first, and never touches a result."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from graftwork.layout import Layout
from graftwork.processes import Process, this_process
from graftwork_flows.cleaning import rubbish
from graftwork_flows.run_lock import run_lock
from graftwork_flows.sandbox import sandbox
from tests.flows.conftest import call, edit, run

OLD = time.time() - 9 * 86_400


@pytest.fixture
def tidy(computed: Path) -> Path:
    """A workspace in which everything has run, without the activations that this keeps."""
    shutil.rmtree(Layout(computed).features, ignore_errors=True)
    return computed


def aged(path: Path, content: str | None = "x") -> Path:
    """Make a file, or a folder, that wasn't touched for days."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    os.utime(path, (OLD, OLD))
    return path


def littered(workspace: Path) -> set[str]:
    """Leave one of each kind about; return their paths."""
    layout = Layout(workspace)
    aged(layout.features / "abc" / "activations.npy")
    aged(layout.checkpoints("gone", "seed-0", "f", "newest") / "state.json")
    aged(layout.checkpoints("full_copy", "seed-0", "f", "newest") / "state.json")
    aged(layout.downloads / "part", "half")
    aged(workspace / "weights" / ".source.12345678.tmp" / "x")
    os.utime(workspace / "weights" / ".source.12345678.tmp", (OLD, OLD))
    for number in range(22):
        aged(layout.private / "reports" / f"{number:02}.html")
        os.utime(layout.private / "reports" / f"{number:02}.html", (OLD + number, OLD + number))
    private = ("features/abc", "checkpoints/gone", "checkpoints/full_copy", "downloads/part", "reports/00.html",
               "reports/01.html")  # fmt: skip
    return {f".graftwork/{name}" for name in private} | {"weights/.source.12345678.tmp"}


def test_it_lists_first_and_removes_when_told_and_leaves_the_results(tidy: Path) -> None:
    expected = littered(tidy)
    assert {one.path for one in rubbish(tidy)} == expected
    said = call(tidy, "graftwork", "clean")
    assert "can go: graftwork clean --yes" in said
    assert all((tidy / path).exists() for path in expected)
    assert "removed" in call(tidy, "graftwork", "clean", "--yes")
    assert not any((tidy / path).exists() for path in expected)
    assert list(rubbish(tidy)) == []
    assert "up to date" in call(tidy, "dvc", "status")
    call(tidy, "graftwork", "verify")


def test_a_checkpoint_that_a_run_will_go_on_from_stays(tidy: Path) -> None:
    aged(Layout(tidy).checkpoints("full_copy", "seed-0", "f", "newest") / "state.json")
    edit(tidy / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 3")
    assert list(rubbish(tidy)) == []


def test_a_run_that_is_going_on_refuses(tidy: Path) -> None:
    expected = littered(tidy)
    with run_lock(Layout(tidy).private, "a run of this test"):
        done = run(tidy, "graftwork", "clean", "--yes")
    assert done.returncode == 4 and "a run of this test" in done.stderr
    assert all((tidy / path).exists() for path in expected)


def test_a_worktree_goes_only_when_its_run_is_no_more_and_with_it_what_the_run_may_need(tidy: Path) -> None:
    tree = Layout(tidy).worktrees / "box"
    aged(Layout(tidy).checkpoints("full_copy", "seed-0", "f", "newest") / "state.json")
    with sandbox(tidy, ["finetune.epochs=1"], "box"):
        os.utime(tree, (OLD, OLD))
        assert list(rubbish(tidy)) == []
        done = run(tidy, "graftwork", "clean", "--yes", "--cache")
        assert done.returncode == 4 and "in use by a run with other settings" in done.stderr
        dead = Process(this_process().machine, this_process().pid, this_process().started + 1)
        (tree.parent / "box.owner").write_text(str(dead))
        assert [one.path for one in rubbish(tidy)] == [
            ".graftwork/checkpoints/full_copy", ".graftwork/worktrees/box",
        ]  # fmt: skip
        call(tidy, "graftwork", "clean", "--yes")
        assert not list(tree.parent.iterdir()) and "worktrees" not in call(tidy, "git", "worktree", "list")


def test_prefects_history_and_dvcs_cache_go_on_request_alone(tidy: Path) -> None:
    aged(tidy / ".prefect" / "prefect.db")
    edit(tidy / "params.yaml", "[full_copy, freeze]", "[full_copy, {freeze: {batch_norm: update}}]")
    call(tidy, "graftwork", "run", "--without-prefect")
    before = len(list((tidy / ".dvc" / "cache" / "files").rglob("*")))
    assert "--history" in call(tidy, "graftwork", "clean")
    call(tidy, "graftwork", "clean", "--yes")
    assert (tidy / ".prefect" / "prefect.db").exists()
    call(tidy, "graftwork", "clean", "--yes", "--history", "--cache")
    assert not (tidy / ".prefect" / "prefect.db").exists()
    assert len(list((tidy / ".dvc" / "cache" / "files").rglob("*"))) < before
    call(tidy, "graftwork", "verify")


def test_outside_of_a_workspace_nothing_is_done(tmp_path: Path) -> None:
    done = run(tmp_path, "graftwork", "clean", "--yes")
    assert done.returncode == 2 and "graftwork init" in done.stderr


@pytest.mark.parametrize("name", ["weights", "data/prepared", "report"])
def test_no_output_of_dvc_is_ever_listed(name: str, tidy: Path) -> None:
    for path in sorted((tidy / name).rglob("*")):
        os.utime(path, (OLD, OLD))
    assert list(rubbish(tidy)) == []
