"""What is trained on is measured once, whoever runs the stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graftwork.files import read_json
from graftwork.progress import Quiet
from graftwork_flows.runs import begin, run_plainly
from tests.flows.conftest import call, commit, edit

PINNED = "engine: {device: cpu, threads: 1, precision: float32, memory_format: contiguous}"
OPEN = "engine: {device: cpu, threads: 1, precision: float32, memory_format: auto}"


@pytest.fixture
def open_workspace(workspace: Path) -> Path:
    """A workspace whose memory format is yet to be chosen."""
    edit(workspace / "params.yaml", PINNED, OPEN)
    return workspace


def choose(workspace: Path, *, force: bool = False) -> None:
    """Run the stages up to the choice, in this process."""
    with begin(workspace, goals=("measure",), force=force) as run:
        run_plainly(run, lambda stage: Quiet())
        assert not run.failures, run.failures


def test_a_run_and_dvc_repro_choose_the_same_and_leave_the_same_lock(open_workspace: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(open_workspace, tmp_path / "other"))
    choose(open_workspace)
    call(other, "dvc", "repro", "measure@target")
    for folder in ("weights", "report"):
        file = f"{folder}/engine/target.json"
        assert (open_workspace / file).read_bytes() == (other / file).read_bytes()
    kept = {line for line in (other / "dvc.lock").read_text().splitlines() if "md5:" in line}
    assert kept <= set((open_workspace / "dvc.lock").read_text().splitlines())
    assert "memory_format" in call(open_workspace, "git", "grep", "--untracked", "-h", "memory_format", "weights")
    assert "up to date" in call(other, "dvc", "status", "measure@target")


def test_measuring_anew_is_recorded_for_dvc(open_workspace: Path) -> None:
    choose(open_workspace)
    said = call(open_workspace, "graftwork", "measure")
    assert "measuring 2 ways" in said and "kept" not in said
    assert read_json(open_workspace / "report" / "engine" / "target.json")["machine"]
    assert "up to date" in call(open_workspace, "dvc", "status", "measure@target", "measure@source")


def test_a_recomputed_stage_keeps_the_choice_and_git_brings_it_to_a_clone(open_workspace: Path, tmp_path: Path) -> None:
    choose(open_workspace)
    file = "report/engine/target.json"
    record = (open_workspace / file).read_bytes()
    choose(open_workspace, force=True)
    assert (open_workspace / file).read_bytes() == record
    commit(open_workspace)
    call(tmp_path, "git", "clone", "-q", str(open_workspace), "clone")
    assert (tmp_path / "clone" / file).read_bytes() == record
