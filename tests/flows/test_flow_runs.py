"""What a run from the command line does where its flow run ends by itself, or by the server's fault."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.states import Cancelling, Completed, Failed, Running

from graftwork.errors import DataError, SettingsError, TrainingError
from graftwork_flows import cancelling, flow_body, flow_runs, launch
from graftwork_flows.runners import Runner
from graftwork_flows.stopping import Stop

REFUSED = httpx.ConnectError("connection refused")


class Named:
    """A flow run."""

    id = "some"


@pytest.fixture(autouse=True)
def flow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SimpleNamespace:
    """A flow that ends as its `ends` says, on a server that answers if `answers`."""
    made = SimpleNamespace(ends=Completed(), answers=True)

    def transfer(return_state: bool) -> Any:
        if isinstance(made.ends, Exception):
            raise made.ends
        return made.ends

    monkeypatch.setattr(flow_runs, "import_module", lambda name: SimpleNamespace(transfer=transfer))
    monkeypatch.setattr(flow_runs, "listen_to_flow", lambda quiet: None)
    monkeypatch.setattr(flow_runs.server, "healthy", lambda url: made.answers)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "INFO")
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize(
    ("ends", "answers", "there"),
    [
        pytest.param(Completed(), True, True, id="completed"),
        pytest.param(ValueError("any"), False, False, id="the server is gone"),
        pytest.param(Failed(data=ValueError("any")), False, False, id="the server is gone, and the flow could say so"),
        pytest.param(REFUSED, True, False, id="the server was gone for a moment"),
        pytest.param(Failed(data=REFUSED), True, False, id="for a moment, and the flow could say so"),
    ],
)
def test_a_server_that_is_gone_if_only_for_a_moment_is_told_from_one_that_was_there(
    ends: object, answers: bool, there: bool, flow: SimpleNamespace, tmp_path: Path
) -> None:
    flow.ends, flow.answers = ends, answers
    assert flow_runs.run_flow(tmp_path, "transfer", {}, quiet=True) is there


@pytest.mark.parametrize(
    ("ends", "raised"),
    [(ValueError("ours"), ValueError), (DataError("theirs"), DataError), (Failed(data=DataError("x")), DataError)],
)
def test_what_is_wrong_with_the_run_is_raised_whatever_the_server_does(
    ends: object, raised: type[Exception], flow: SimpleNamespace, tmp_path: Path
) -> None:
    flow.ends = ends
    with pytest.raises(raised):
        flow_runs.run_flow(tmp_path, "transfer", {}, quiet=True)


@pytest.mark.parametrize("idle", [True, False])
def test_a_runner_of_the_environment_is_asked_for_only_where_there_is_something_to_do(
    idle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "settled", lambda root, goals: idle)
    monkeypatch.setattr(launch, "connect", lambda root, quiet: "")
    monkeypatch.delenv("PREFECT_API_URL")
    anew: list[bool] = []

    def started() -> None:
        launch._run(
            tmp_path, "transfer", {"recompute": False}, anew.append, (), Runner("dask"),
            without_prefect=False, quiet=True,
        )  # fmt: skip

    if idle:
        started()
        assert anew == [False]
    else:
        with pytest.raises(SettingsError, match="works through Prefect"):
            started()


def test_what_a_flow_computed_anew_isnt_computed_again_when_its_server_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "connect", lambda root, quiet: "http://127.0.0.1:9")
    monkeypatch.setattr(launch, "run_flow", lambda *_: False)
    anew: list[bool] = []
    launch._run(
        tmp_path, "transfer", {"recompute": True}, anew.append, None, Runner("dask"), without_prefect=False, quiet=True
    )
    assert anew == [False]


def test_a_cancel_at_the_server_stops_the_run_and_its_last_state_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(cancelling, "FlowRunContext", SimpleNamespace(get=lambda: SimpleNamespace(flow_run=Named())))
    states = iter([Running(), None, Cancelling()])
    monkeypatch.setattr(cancelling, "state_of", lambda flow_run: next(states))
    monkeypatch.setattr(flow_body, "note_flow_run", lambda root: None)

    def work(stop: Stop) -> Any:
        for _ in range(500):
            stop.check()
            time.sleep(0.01)
        pytest.fail("nobody stopped it")

    state = flow_body.as_flow(Path("here"), work)
    assert state.is_cancelled() and state.message == "stopped by SIGTERM"


@pytest.mark.parametrize("deployed", [True, False])
def test_the_error_of_a_failed_run_is_handed_on_to_the_command_line_alone(
    deployed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SimpleNamespace(deployment_id="some" if deployed else None)
    monkeypatch.setattr(flow_body, "FlowRunContext", SimpleNamespace(get=lambda: SimpleNamespace(flow_run=run)))
    state = flow_body.failed(DataError("two labels", fix="one"))
    assert state.is_failed() and "two labels" in (state.message or "")
    assert (state.data is None) is deployed


def test_a_failure_without_an_error_is_told_by_its_message(flow: SimpleNamespace, tmp_path: Path) -> None:
    flow.ends = Failed(message="out of luck")
    with pytest.raises(TrainingError, match="out of luck"):
        flow_runs.run_flow(tmp_path, "transfer", {}, quiet=True)
