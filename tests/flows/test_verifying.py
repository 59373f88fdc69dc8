"""`verify` reads every byte: whatever differs from dvc.lock is found and named, also what DVC's own state forgives."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from graftwork.dvc_lock import md5_of
from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork_flows.verifying import verify
from tests.flows.conftest import call, edit, run


def differing(workspace: Path, **options: bool) -> dict[str, tuple[str, ...]]:
    return {found.name: found.differences for found in verify(workspace, **options) if found.state == "differs"}


def test_a_workspace_after_a_run_is_what_its_lock_says(computed: Path) -> None:
    said = call(computed, "graftwork", "verify")
    assert len([line for line in said.splitlines() if " ok " in line]) == 17 + 3
    found: list[dict[str, Any]] = json.loads(call(computed, "graftwork", "verify", "--json"))
    assert {one["state"] for one in found} == {"ok", "not run"} or {one["state"] for one in found} == {"ok"}


def test_folders_are_hashed_as_dvc_does(computed: Path) -> None:
    (computed / "weights" / "start" / "full_copy" / ".x.tmp").write_text("left by a kill, and ignored")
    assert differing(computed) == {}
    assert md5_of(computed / "nothing") is None


def test_a_byte_that_changed_behind_dvcs_back_is_found(computed: Path) -> None:
    file = Layout(computed).tuned("full_copy") / "seed-0.safetensors"
    call(computed, "dvc", "status")
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as opened:  # the same inode, size and time, by which DVC's state knows the file
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "up to date" in call(computed, "dvc", "status"), "DVC trusts what it remembers"
    found = differing(computed)
    assert set(found) == {"finetune@full_copy", "report"}
    assert "seed-0.safetensors" in found["finetune@full_copy"][0]
    assert run(computed, "graftwork", "verify").returncode == 4


def replaced(file: str, old: str, new: str) -> Callable[[Path], object]:
    return lambda root: edit(root / file, old, new)


BREAKAGES: dict[str, tuple[Callable[[Path], object], str, str]] = {  # what is done; the stage that tells; how
    "setting": (replaced("params.yaml", "pretrain: {epochs: 2", "pretrain: {epochs: 3"), "pretrain@source", "setting"),
    "dependency": (lambda root: (root / "data/target.npz").write_bytes(b"x"), "fetch@target", "data/target.npz"),
    "output missing": (lambda root: (root / "report/report.html").unlink(), "report", "report.html: missing"),
    "command": (replaced("dvc.yaml", "graftwork stage report", "graftwork stage report -C ."), "report", "command"),
    "new strategy": (replaced("params.yaml", "  freeze:", "  x: [full_copy]\n  freeze:"), "finetune@x", "not recorded"),
    "no lock": (lambda root: (root / "dvc.lock").unlink(), "fetch@source", "not recorded"),
    "engine": (lambda root: (root / "weights/engine/target.json").write_text("{}"), "engine", "target"),
}


@pytest.mark.parametrize("case", BREAKAGES)
def test_every_kind_of_difference_is_named(case: str, computed: Path) -> None:
    breakage, stage, text = BREAKAGES[case]
    breakage(computed)
    found = differing(computed)
    assert any(text in line for line in found[stage]), found


def test_private_files_are_compared_with_their_manifests(computed: Path) -> None:
    checkpoint = Layout(computed).checkpoints("full_copy", "seed-0", "0123", "newest")
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    write_json(checkpoint / "manifest.json", {"state.json": "0" * 64})
    features = Layout(computed).features / "abc"
    features.mkdir(parents=True)
    write_json(features / "entry.json", {"sha256": "0" * 64})
    found = differing(computed)
    assert "state.json isn't what was written" in found["checkpoints"][0]
    assert "features" in found


def test_the_remote_is_asked_for_every_file(computed: Path, tmp_path: Path) -> None:
    call(computed, "dvc", "remote", "add", "-q", "-d", "other", str(tmp_path / "other"))
    call(computed, "dvc", "remote", "add", "-q", "store", str(tmp_path / "store"))
    edit(computed / "params.yaml", "seed: 0\n", "seed: 0\nremote: {name: store}\n")
    assert [name for name in differing(computed, remote=True) if name.startswith("remote store")]
    call(computed, "dvc", "push", "-q", "-r", "store")
    assert differing(computed, remote=True) == {}
    gone = md5_of(Layout(computed).tuned("full_copy") / "seed-0.safetensors")
    assert gone is not None
    (tmp_path / "store" / "files" / "md5" / gone[:2] / gone[2:]).unlink()
    ((_, lines),) = differing(computed, remote=True).items()
    assert lines == ("not at the remote: weights/target/full_copy/seed-0.safetensors",)
