"""DVC's own ways of versioning work on a workspace: experiments, and the registry of models."""

from __future__ import annotations

import csv
import filecmp
import io
from pathlib import Path

import pytest

from graftwork_flows.verifying import verify
from tests.flows.conftest import call, commit

pytestmark = pytest.mark.slow


def test_an_experiment_is_run_shown_compared_and_applied(computed: Path) -> None:
    commit(computed)
    lock = (computed / "dvc.lock").read_bytes()
    call(computed, "dvc", "exp", "run", "-q", "-S", "evidence.margin=0.02", "-n", "wider")
    assert "wider" in call(computed, "dvc", "exp", "list", "--name-only")
    shown = {
        row["Experiment"]: row for row in csv.DictReader(io.StringIO(call(computed, "dvc", "exp", "show", "--csv")))
    }
    assert shown["wider"]["evidence.margin"] == "0.02"
    assert "evidence.margin" in call(computed, "dvc", "exp", "diff", "HEAD", "wider")
    call(computed, "git", "checkout", "-q", "--", ".")
    call(computed, "dvc", "checkout", "-q")
    assert (computed / "dvc.lock").read_bytes() == lock
    call(computed, "dvc", "exp", "apply", "wider")
    assert "margin: 0.02" in (computed / "params.yaml").read_text()
    assert [found.name for found in verify(computed) if found.state == "differs"] == []


def test_tagged_models_can_be_had_from_elsewhere(computed: Path, tmp_path: Path) -> None:
    call(computed, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    commit(computed)
    call(computed, "dvc", "push", "-q")
    for name in ("source-model", "fine-tuned"):
        call(computed, "git", "tag", "-a", f"{name}@v1.0.0", "-m", "first")
    call(tmp_path, "dvc", "artifacts", "get", str(computed), "source-model", "--rev", "v1.0.0", "-o", "m.safetensors")
    call(tmp_path, "dvc", "artifacts", "get", str(computed), "fine-tuned", "-o", "tuned")
    source = computed / "weights" / "source" / "model.safetensors"
    assert (tmp_path / "m.safetensors").read_bytes() == source.read_bytes()
    found = filecmp.dircmp(tmp_path / "tuned" / "full_copy", computed / "weights" / "target" / "full_copy")
    assert "seed-0.safetensors" in found.same_files and not found.diff_files and not found.right_only
