"""What is trained on is measured once, whoever runs the stages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from graftwork.files import read_json
from tests.flows.conftest import call, commit, edit
from tests.flows.test_pipeline import compute

PINNED = "engine: {device: cpu, threads: 1, precision: float32, memory_format: contiguous}"
OPEN = "engine: {device: cpu, threads: 1, precision: float32, memory_format: auto}"


@pytest.fixture
def open_workspace(workspace: Path) -> Path:
    """A workspace whose memory format is yet to be chosen."""
    edit(workspace / "params.yaml", PINNED, OPEN)
    return workspace


def test_a_run_and_dvc_repro_choose_the_same_and_leave_the_same_lock(open_workspace: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(open_workspace, tmp_path / "other"))
    assert {"measure@source", "measure@target"} <= set(compute(open_workspace))
    call(other, "dvc", "repro", "finetune@scratch")
    for name in ("source", "target"):
        for folder in ("weights", "report"):
            file = f"{folder}/engine/{name}.json"
            assert (open_workspace / file).read_bytes() == (other / file).read_bytes()
    kept = {line for line in (other / "dvc.lock").read_text().splitlines() if "md5:" in line}
    assert kept <= set((open_workspace / "dvc.lock").read_text().splitlines())
    assert "memory_format" in call(open_workspace, "git", "grep", "--untracked", "-h", "memory_format", "weights")


def test_measuring_anew_trains_again_only_where_the_choice_changes(open_workspace: Path) -> None:
    compute(open_workspace)
    choice = (open_workspace / "weights" / "engine" / "target.json").read_bytes()
    said = call(open_workspace, "graftwork", "measure")
    assert "kept" not in said and read_json(open_workspace / "report" / "engine" / "target.json")["machine"]
    after = set(compute(open_workspace))
    if (open_workspace / "weights" / "engine" / "target.json").read_bytes() == choice:
        assert not {name for name in after if name.startswith("finetune")}
    assert "up to date" in call(open_workspace, "dvc", "status")


def test_a_recomputed_run_keeps_the_choice_and_git_brings_it_to_a_clone(computed: Path, tmp_path: Path) -> None:
    edit(computed / "params.yaml", PINNED, OPEN)
    edit(computed / "params.yaml", "strategies:\n", "strategies: # fewer\n")
    call(computed, "graftwork", "run", "--without-prefect")
    record = (computed / "report" / "engine" / "target.json").read_bytes()
    said = call(computed, "graftwork", "run", "--without-prefect", "--recompute")
    assert "measure@target: kept" in said
    assert (computed / "report" / "engine" / "target.json").read_bytes() == record
    commit(computed)
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "-q", str(computed), str(clone))
    assert (clone / "report" / "engine" / "target.json").read_bytes() == record
