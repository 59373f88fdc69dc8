"""Runs that are killed anywhere are finished by the next one, to the bit, and nothing is left behind."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from graftwork.dvc_lock import LOCKS
from graftwork.side_by_side import can_fork
from graftwork_flows import lock_files
from graftwork_flows.run_lock import run_lock
from tests.flows.conftest import begun, call, edit, environment, run
from tests.kills import Kills, RealKills, TrainingKills

ROUNDS = int(os.environ.get("GRAFTWORK_KILLS", "4"))  # python -m tests.kills has more to say
SEED = int(os.environ.get("GRAFTWORK_KILLS_SEED", random.randrange(10**6)))
pytestmark = pytest.mark.skipif(not can_fork(), reason="processes are forked on Linux only")


@pytest.fixture(scope="module")
def kills(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kills]:
    yield Kills(tmp_path_factory.mktemp("kills"), template, SEED)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_run_killed_at_any_moment_is_finished_by_the_next_to_the_bit(number: int, kills: Kills) -> None:
    killed = kills.kill(number)
    assert not killed.lost, f"killed {killed.where}; GRAFTWORK_KILLS_SEED={SEED} repeats it from its first kill on"
    assert killed.again is not None and killed.again <= 8  # at most a training that wasn't recorded yet


def test_a_training_killed_at_any_moment_is_finished_by_the_next_to_the_bit(tmp_path: Path) -> None:
    kills = TrainingKills(tmp_path, tmp_path, SEED)
    for number in range(5 * ROUNDS):
        killed = kills.kill(number)
        assert not killed.lost, f"killed {killed.where}; GRAFTWORK_KILLS_SEED={SEED} repeats it"


@pytest.mark.slow
def test_a_real_run_with_forked_trainings_killed_at_any_time_is_finished_by_the_next(
    template: Path, tmp_path: Path
) -> None:
    real = RealKills(tmp_path, Path(shutil.copytree(template, tmp_path / "template")), SEED)
    killed = real.kill(0)  # python -m tests.kills --what processes does it more often
    assert not killed.lost, f"killed {killed.where}; seed {SEED}"


def test_a_lock_that_a_dead_process_left_is_taken_over_and_its_holder_named(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        with run_lock(tmp_path, "a run of this test"):
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with run_lock(tmp_path, "another") as former:
        assert f"a run of this test, process {pid}" in former
    with run_lock(tmp_path, "a third") as former:
        assert former == ""


def test_an_error_in_a_run_is_no_death(tmp_path: Path) -> None:
    with pytest.raises(ArithmeticError), run_lock(tmp_path, "a run of this test"):
        raise ArithmeticError
    with run_lock(tmp_path, "another") as former:
        assert former == ""


def test_who_dies_slowly_is_waited_for(tmp_path: Path) -> None:
    """A killed run's forked processes share its lock until the system has ended them, too."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with run_lock(tmp_path, "a run of this test"):
            if os.fork() == 0:
                os.write(writer, b"x")
                time.sleep(0.7)
                os._exit(0)
            os.read(reader, 1)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    with run_lock(tmp_path, "another") as former:
        assert "a run of this test" in former


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("torn", ["schema: '2.0'\nstages:\n  a:\n    cmd", "schema: '2.0'\n", ""])
def test_a_torn_lock_file_is_as_it_was_before(name: str, torn: str, tmp_path: Path) -> None:
    from graftwork.layout import Layout

    lock = tmp_path / name
    lock.parent.mkdir(exist_ok=True)
    lock.write_text("whole")
    pid = os.fork()
    if pid == 0:
        with lock_files.kept_whole(tmp_path, name):
            lock.write_text(torn)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert lock_files.mend(Layout(tmp_path)) == [name] and lock.read_text() == "whole"
    assert lock_files.mend(Layout(tmp_path)) == []
    with pytest.raises(OSError, match="full"), lock_files.kept_whole(tmp_path, name):
        lock.write_text(torn)
        raise OSError("full")
    assert lock.read_text() == "whole"


def test_what_a_kill_left_in_dvcs_run_cache_is_removed_an_empty_folder_too(tmp_path: Path) -> None:
    torn, empty, whole = (tmp_path / "runs" / "ab" / name for name in ("abc", "abd", "abe"))
    for folder in (torn, empty, whole):
        folder.mkdir(parents=True)
    (torn / ".vGh2jX1rJ819r6DaGrq2nw.tmp").write_text("outs:\n- pa")
    (whole / "0123").write_text("outs: []")
    lock_files.sweep_cache(tmp_path, tmp_path / "files")
    assert sorted(path.name for path in (tmp_path / "runs" / "ab").iterdir()) == ["abe"]
    assert (whole / "0123").exists()


def test_dvcs_own_torn_lock_doesnt_hold_up_the_next_run(computed: Path) -> None:
    (computed / ".dvc" / "tmp" / "rwlock").write_text('{"read": {"/x"')
    done = run(computed, "graftwork", "run", "--without-prefect")
    assert done.returncode == 0 and "DVC's lock restored" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "command", "hidden"),
    [
        pytest.param(250_000, ("run", "--without-prefect", "--recompute"), "2000", id="weights and checkpoints"),
        pytest.param(50_000, ("stage", "report"), "16", id="report"),
    ],
)
def test_a_disk_that_fills_up_ends_the_run_with_what_was_there_and_the_next_goes_on(
    most: int, command: tuple[str, ...], hidden: str, computed: Path
) -> None:
    before = {path: path.read_bytes() for path in computed.glob("report/*") if path.is_file()}
    edit(computed / "params.yaml", "mlp: {hidden: [16]}", f"mlp: {{hidden: [{hidden}]}}")
    process = subprocess.run(
        ["graftwork", *command], cwd=computed, env=environment(), capture_output=True,
        text=True, timeout=240, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY)),
    )  # fmt: skip
    assert process.returncode == 5, process.stderr
    assert "disk is full" in process.stderr and "fix: " in process.stderr and "Traceback" not in process.stderr
    assert not list(computed.rglob("*.tmp/")) and not list(computed.rglob(".*.tmp"))
    assert all(path.read_bytes() == content for path, content in before.items() if path.suffix == ".html")
    assert run(computed, "graftwork", "run", "--without-prefect").returncode == 0
    assert "up to date" in call(computed, "dvc", "status")


def test_a_read_only_folder_is_found_before_anything_runs(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    from graftwork.errors import StateError
    from graftwork_flows.runs import begin

    real = tempfile.TemporaryFile

    def refused(*arguments: object, dir: Path, **options: object) -> object:  # its name
        if Path(dir).name == "report":
            raise PermissionError(13, "Permission denied")  # which root isn't told
        return real(*arguments, dir=dir, **options)  # type: ignore[call-overload]

    monkeypatch.setattr("graftwork.files.tempfile.TemporaryFile", refused)
    with pytest.raises(StateError, match="can't be written: Permission denied") as caught, begin(workspace):
        pytest.fail("it began")
    assert caught.value.exit_code == 4 and "report" in caught.value.where
    assert not (workspace / "data" / "raw").exists()


@pytest.mark.slow
def test_the_worktree_of_a_killed_run_with_other_settings_is_removed_and_its_checkpoints_are_kept(
    workspace: Path,
) -> None:
    edit(workspace / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 4000")
    command = ["graftwork", "run", "--without-prefect", "--set", "seeds=[0,1]"]
    with begun(workspace, *command, until="finetune@") as process:
        until = time.monotonic() + 30
        while not list((workspace / ".graftwork" / "checkpoints").rglob("state.json")) and time.monotonic() < until:
            time.sleep(0.2)
        process.kill()
    assert "worktrees" in call(workspace, "git", "worktree", "list")
    kept = list((workspace / ".graftwork" / "checkpoints").rglob("state.json"))
    assert kept and json.loads(kept[0].read_text())["next_epoch"] > 0
    edit(workspace / "params.yaml", "finetune: {epochs: 4000", "finetune: {epochs: 1")
    assert run(workspace, *command).returncode == 0
    assert "worktrees" not in call(workspace, "git", "worktree", "list")
