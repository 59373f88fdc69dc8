"""Results go to a DVC remote and come back: a fresh clone computes nothing, and a remote that fails costs nothing."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from graftwork.errors import Interrupted, StateError, TrainingError
from graftwork.layout import Layout
from graftwork_flows import launch
from graftwork_flows.runs import Run, begin, run_plainly
from tests.flows.conftest import call, commit, edit, run
from tests.flows.recorder import Recorder

PULLS, PUSHES = "remote: {pull: true}\n", "remote: {push: true}\n"


def exchange(workspace: Path, settings: str) -> tuple[list[str], list[str]]:
    """Run with settings of the remote; return the stages that were computed, and what was told of the exchange."""
    file = workspace / "params.yaml"
    file.write_text(file.read_text().partition("remote:")[0] + settings)
    recorder, told = Recorder(), list[str]()
    with begin(workspace, tell=told.append) as going:
        recorder.watch(going)
        run_plainly(going, lambda stage: recorder)
        assert not going.failures, going.failures
    return recorder.computed, told


def clone_of(workspace: Path, name: str = "clone") -> Path:
    """Commit everything and clone it."""
    commit(workspace)
    call(workspace.parent, "git", "clone", "-q", str(workspace), str(workspace.parent / name))
    return workspace.parent / name


def weights(workspace: Path) -> dict[str, bytes]:
    return {str(file.relative_to(workspace)): file.read_bytes() for file in workspace.glob("weights/**/*.safetensors")}


@pytest.fixture
def stored(computed: Path, tmp_path: Path) -> Path:
    """A workspace in which everything has run, with a directory as its remote."""
    call(computed, "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    return computed


def test_a_fresh_clone_that_pulls_computes_nothing_and_has_the_same_bits(stored: Path) -> None:
    computed, told = exchange(stored, PUSHES)
    assert computed == [], "no stage hangs on the remote"
    assert told[0].startswith("pushed ") and "store" in told[0]
    assert exchange(stored, PUSHES) == ([], []), "a run with nothing new asks the remote for nothing"
    clone = clone_of(stored)
    computed, told = exchange(clone, PULLS)
    assert computed == []
    assert told[0].startswith("pulled ")
    assert weights(clone) == weights(stored) != {}
    assert (clone / "dvc.lock").read_bytes() == (stored / "dvc.lock").read_bytes()
    assert "up to date" in call(clone, "dvc", "status")


def test_without_a_record_the_run_cache_names_what_to_pull(stored: Path) -> None:
    exchange(stored, PUSHES)
    lock = (stored / "dvc.lock").read_bytes()
    (stored / "dvc.lock").unlink()
    clone = clone_of(stored)
    computed, _ = exchange(clone, PULLS)
    assert set(computed) == {"measure@source", "measure@target"}, "what it chose is in git, not in DVC's cache"
    assert weights(clone) == weights(stored)
    assert (clone / "dvc.lock").read_bytes() == lock


def test_former_settings_come_from_the_remote_too(stored: Path) -> None:
    exchange(stored, "")
    edit(stored / "params.yaml", "[full_copy, freeze]", "[full_copy, {freeze: {batch_norm: update}}]")
    assert "finetune@freeze" in exchange(stored, PUSHES)[0]
    clone = clone_of(stored)
    edit(clone / "params.yaml", "[full_copy, {freeze: {batch_norm: update}}]", "[full_copy, freeze]")
    assert exchange(clone, PULLS)[0] == []


def test_data_of_dvc_add_comes_by_the_pull(stored: Path) -> None:
    call(stored, "git", "rm", "-q", "--cached", "data/target.npz")
    call(stored, "dvc", "add", "-q", "data/target.npz")
    exchange(stored, PUSHES)
    clone = clone_of(stored)
    assert not (clone / "data" / "target.npz").exists()
    assert run(clone, "graftwork", "run", "--without-prefect").returncode == 3
    edit(clone / "params.yaml", PUSHES, PULLS)
    assert "pulled" in call(clone, "graftwork", "run", "--without-prefect")
    assert (clone / "data" / "target.npz").read_bytes() == (stored / "data" / "target.npz").read_bytes()


def test_a_remote_that_fails_is_warned_of_and_served_by_the_next_run(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    edit(stored / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 1")
    with (stored / "params.yaml").open("a") as file:
        file.write("remote: {pull: true, push: true}\n")
    done = run(stored, "graftwork", "run", "--without-prefect", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "warning: Not everything could be pushed" in done.stderr and "Traceback" not in done.stderr
    assert "the next run pushes" in done.stderr
    assert "up to date" in call(stored, "dvc", "status")
    (tmp_path / "store").unlink()
    assert exchange(stored, PUSHES)[1][0].startswith("pushed ")


def test_what_lies_in_the_cache_comes_also_while_the_remote_fails(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where a folder should be")
    shutil.rmtree(stored / "weights" / "target")
    computed, told = exchange(stored, PULLS)
    assert computed == []
    assert not told or told[0].startswith("warning: ")


@pytest.mark.parametrize(("settings", "text"), [(PULLS, "dvc remote add"), ("remote: {name: x, push: true}\n", "'x'")])
def test_a_remote_that_is_not_set_up_is_told_before_anything_runs(computed: Path, settings: str, text: str) -> None:
    with pytest.raises(StateError) as refused:
        exchange(computed, settings)
    assert text in str(refused.value)


def test_what_was_finished_is_pushed_also_where_another_stage_failed(
    stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(stored / "params.yaml", "seed: 0\n", f"seed: 0\n{PUSHES}")

    def fails(run: Run, *_: object) -> None:
        run.failures["finetune@freeze"] = TrainingError("on purpose")

    monkeypatch.setattr(launch, "_run_to_the_end", fails)
    with pytest.raises(TrainingError, match="on purpose"):
        launch.bring_up_to_date(stored, (), quiet=True)
    assert list((stored.parent / "store").rglob("*"))


def test_an_interrupted_run_pushes_nothing(stored: Path, tmp_path: Path) -> None:
    edit(stored / "params.yaml", "seed: 0\n", f"seed: 0\n{PUSHES}")
    with begin(stored) as going:
        going.stop.want(signal.SIGTERM)
    assert not Layout(stored).pushed.exists() and not (tmp_path / "store").exists()


def test_a_signal_ends_a_push_at_once_and_the_next_run_pushes(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def endless(repo: object, private: Path) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr("graftwork_flows.exchange.push_all", endless)
        before = time.monotonic()
        with pytest.raises(Interrupted) as stopped:
            exchange(stored, PUSHES)
    assert stopped.value.exit_code == 143 and time.monotonic() - before < 50
    assert exchange(stored, PUSHES)[1][0].startswith("pushed ")


@pytest.fixture
def s3() -> Iterator[str]:
    """An S3-compatible server on the loopback, with a bucket; its address."""
    pytest.importorskip("moto.server")
    pytest.importorskip("dvc_s3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _make_bucket(url)
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _make_bucket(url: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{url}/results", method="PUT"), timeout=5).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.25)
    raise AssertionError("the S3 server didn't start")


@pytest.mark.slow
def test_a_fresh_clone_computes_nothing_from_an_s3_compatible_store(computed: Path, s3: str) -> None:
    call(computed, "dvc", "remote", "add", "-q", "bucket", "s3://results/graftwork")
    for key, value in (
        ("endpointurl", s3),
        ("access_key_id", "x"),
        ("secret_access_key", "y"),
        ("region", "us-east-1"),
    ):
        call(computed, "dvc", "remote", "modify", "-q", "bucket", key, value)
    edit(computed / "params.yaml", "seed: 0\n", "seed: 0\nremote: {name: bucket, pull: true, push: true}\n")
    assert "pushed" in call(computed, "graftwork", "run", "--without-prefect")
    clone = clone_of(computed)
    said = call(clone, "graftwork", "run", "--without-prefect")
    assert "pulled" in said and "of the trunk from the source" not in said, "nothing was computed"
    assert weights(clone) == weights(computed)
