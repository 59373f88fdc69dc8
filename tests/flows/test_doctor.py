"""`doctor` goes on whatever is broken, tells of each thing what to do, and leaves no traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import pytest

from graftwork.errors import StateError
from graftwork_flows.checkup import machine, software, state
from graftwork_flows.doctor import Line, _guarded, diagnose
from graftwork_flows.run_lock import require_free, run_lock
from tests.conftest import ROOT
from tests.flows.conftest import edit, environment, run

LEVELS = {"ok", "warning", "broken"}


def lines(root: Path) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in diagnose(root):
        found.setdefault(line.name, []).append(line)
    return found


def broken(root: Path) -> dict[str, Line]:
    return {line.name: line for line in diagnose(root) if line.level == "broken"}


def test_a_good_workspace_is_told_line_by_line(computed: Path) -> None:
    done = run(computed, "graftwork", "doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    told = {line.split()[1] for line in done.stdout.splitlines() if line.split()[0] in LEVELS}
    names = {"python", "packages", "torch", "plugins", "settings", "data", "processor", "compute", "disk", "writing",
             "clock", "git", "dvc", "prefect", "runs"}  # fmt: skip
    assert names <= told
    assert "fastapi 0.1" in done.stdout and "instructions" in done.stdout


def test_it_works_outside_of_a_workspace_and_as_json(tmp_path: Path) -> None:
    done = run(tmp_path, "graftwork", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    assert {line["level"] for line in json.loads(done.stdout)} <= LEVELS
    assert not list(tmp_path.iterdir()), "it leaves nothing behind"


def test_broken_settings_a_broken_plugin_and_no_dvc_are_each_told_with_a_fix(workspace: Path) -> None:
    (workspace / "strategies" / "own.py").write_text("def x(:")
    shutil.rmtree(workspace / ".dvc")
    done = run(workspace, "graftwork", "doctor")
    assert done.returncode == 4
    assert "Traceback" not in done.stdout + done.stderr
    assert "own.py" in done.stdout and "dvc init" in done.stdout
    assert done.stdout.count("fix: ") >= 3
    (workspace / "strategies" / "own.py").unlink()
    edit(workspace / "params.yaml", "seed: 0\n", "sead: 0\n")
    found = broken(workspace)
    assert "'sead'" in found["settings"].text and "Did you mean" in found["settings"].fix


def test_without_git_it_warns(workspace: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "graftwork").symlink_to(shutil.which("graftwork", path=environment()["PATH"]) or "")
    done = subprocess.run(
        [str(tools / "graftwork"), "doctor"], cwd=workspace, env={**environment(), "PATH": str(tools)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "Traceback" not in done.stdout + done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.split()[1:2] == ["git"]]
    assert line.startswith("warning") and "isn't installed" in line


def test_a_package_outside_of_its_bounds_is_broken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = software.version
    monkeypatch.setattr(software, "version", lambda name: "0.165.0" if name == "fastapi" else known(name))
    found = [line for line in software.packages(tmp_path) if line.level == "broken"]
    assert [line.fix for line in found] == ["pip install 'fastapi<0.151'"]


def test_a_torch_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    (line,) = software.torch(tmp_path)
    assert line.level == "broken" and "pip install" in line.fix


def test_a_full_disk_a_clock_that_jumped_and_a_silent_server_are_told(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import time

    monkeypatch.setattr(machine, "free_bytes", lambda path: 5_000_000)
    assert [line.level for line in machine.disk(workspace)] == ["broken"]
    os.utime(workspace / "params.yaml", (time.time() + 9e6, time.time() + 9e6))
    (line,) = machine.clock(workspace)
    assert line.level == "warning" and "params.yaml is from the future" in line.text
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    (line,) = state.prefect(workspace)
    assert line.level == "broken" and "--without-prefect" in line.fix


def test_a_place_that_cannot_be_written_is_told(workspace: Path) -> None:
    (workspace / "weights").write_text("a file where a folder should be: root may write into any folder")
    found = [line for line in machine.writing(workspace) if line.level == "broken"]
    assert len(found) == 1 and "weights" in found[0].text


def test_a_run_that_is_going_on_is_told(workspace: Path) -> None:
    with run_lock(workspace / ".graftwork", "a run of this test"):
        (line,) = state.runs(workspace)
    assert "a run of this test" in line.text


def test_who_died_is_still_known_after_it_looked_and_a_login_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = os.fork()
    if pid == 0:
        with run_lock(tmp_path, "a run of this test"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    require_free(tmp_path)
    with run_lock(tmp_path, "the next") as former:
        assert "a run of this test" in former
        with pytest.raises(StateError, match="busy: the next"):
            require_free(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://me:geheim@127.0.0.1:9/api")
    (line,) = state.prefect(tmp_path)
    assert line.level == "broken" and "geheim" not in line.text


def test_a_check_that_fails_is_a_line(tmp_path: Path) -> None:
    def some_check(root: Path) -> list[Line]:
        raise OSError("on purpose")

    (line,) = _guarded(some_check, tmp_path)  # type: ignore[arg-type]  # raises before it yields
    assert line.level == "broken" and line.name == "some check" and "on purpose" in line.text


def test_every_extra_is_looked_for() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(software.EXTRAS) == set(named) - {"test", "dev"}
    for extra, package in software.EXTRAS.items():
        assert any(entry.partition(">")[0] == package for entry in named[extra])
