"""Whose process died is told so; who is tried again, or has ended, is not."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import Any
from uuid import UUID, uuid4

import pytest
from prefect.client.schemas.objects import State
from prefect.states import AwaitingRetry, Cancelling, Completed, Failed, Pending, Running

from graftwork.layout import Layout
from graftwork.processes import Process, this_process
from graftwork_flows import crashed

DEAD = Process(this_process().machine, this_process().pid, this_process().started + 1)


class Server:
    """A server as its client sees it: the state of each flow run, none with tasks."""

    def __init__(self, states: dict[UUID, State[Any]]) -> None:
        self.states = states

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None: ...

    def read_flow_run(self, flow_run: UUID) -> Any:
        return SimpleNamespace(state=self.states[flow_run])

    def set_flow_run_state(self, flow_run: UUID, state: State[Any], force: bool) -> None:
        self.states[flow_run] = state

    def read_task_runs(self, **_: object) -> list[Any]:
        return []


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server({})
    monkeypatch.setattr(crashed, "get_client", lambda sync_client: made)
    monkeypatch.setattr(crashed, "_api", lambda root: "")
    return made


def note(root: Path, flow_run: UUID, process: Process) -> Path:
    place = Layout(root).private / "flow_runs" / f"{flow_run}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps({"process": str(process), "api": ""}))
    return place


@pytest.mark.parametrize(
    ("process", "state", "becomes", "settled"),
    [
        (DEAD, Running(), "CRASHED", True),
        (DEAD, Cancelling(), "CRASHED", True),
        (DEAD, AwaitingRetry(), "SCHEDULED", True),
        (DEAD, Pending(), "PENDING", True),
        (DEAD, Failed(), "FAILED", True),
        (this_process(), Running(), "RUNNING", False),
        (this_process(), Completed(), "COMPLETED", True),
    ],
)
def test_only_who_runs_in_a_dead_process_is_crashed(
    process: Process, state: State[Any], becomes: str, settled: bool, tmp_path: Path, server: Server
) -> None:
    flow_run = uuid4()
    server.states[flow_run] = state
    place = note(tmp_path, flow_run, process)
    crashed.report_crashed(tmp_path, "")
    assert server.states[flow_run].type.value == becomes
    assert place.exists() is not settled


def test_a_run_that_is_tried_again_is_known_by_its_new_process(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow_run = uuid4()
    server.states[flow_run] = Running()
    place = note(tmp_path, flow_run, DEAD)
    going_on = SimpleNamespace(flow_run=SimpleNamespace(id=flow_run))
    monkeypatch.setattr(crashed, "FlowRunContext", SimpleNamespace(get=lambda: going_on))
    crashed.note_flow_run(tmp_path)
    assert server.states[flow_run].is_running()
    assert json.loads(place.read_text())["process"] == str(this_process())
