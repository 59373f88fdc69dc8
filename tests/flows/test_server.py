"""A workspace has one server: a second one is never started beside it, and it can always be stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from graftwork.processes import process_numbered
from graftwork_flows import server


def recorded(root: Path, pid: int) -> None:
    """Record a process as the workspace's server, at a port where nobody answers."""
    (root / ".prefect").mkdir()
    record = {"port": 9, "process": str(process_numbered(pid))}
    (root / ".prefect" / "graftwork-server.json").write_text(json.dumps(record))


def test_a_server_that_lives_and_is_silent_is_waited_for_never_doubled_and_can_be_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_spawn", lambda *_: pytest.fail("a second one"))
    monkeypatch.setattr(server, "START_SECONDS", 0.5)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as silent:
        recorded(tmp_path, silent.pid)
        found = server.launch(tmp_path)
        assert found.pid == silent.pid == server.silent_process(tmp_path)
        assert server.running_server(tmp_path) is None
        with pytest.raises(server.StateError, match=f"doesn't answer, process {silent.pid}") as caught:
            server.wait_until_ready(tmp_path, found)
        assert "graftwork server stop" in caught.value.fix
        assert server.stop_server(tmp_path)
        assert silent.wait(10) < 0
    assert not server.stop_server(tmp_path)


def test_a_process_that_got_a_dead_servers_number_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as other:
        recorded(tmp_path, other.pid)
        state = tmp_path / ".prefect" / "graftwork-server.json"
        text = json.loads(state.read_text())
        machine, pid, started = text["process"].split("-")
        state.write_text(json.dumps({**text, "process": f"{machine}-{pid}-{int(started) - 1}"}))
        monkeypatch.setattr(server, "_spawn", lambda root, port: server.Server(port, process_numbered(other.pid)))
        assert not server.stop_server(tmp_path)
        assert server.launch(tmp_path).port == 9, "clients still ask there"
        assert other.poll() is None
        assert other.stdin is not None
        other.stdin.write(b"\n")
