"""What a run from the command line does where its flow run ends by itself, or by the server's fault."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prefect.states import Completed, Failed

from graftwork.errors import DataError, TrainingError
from graftwork_flows import flow_runs

REFUSED = httpx.ConnectError("connection refused")


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


def test_a_failure_without_an_error_is_told_by_its_message(flow: SimpleNamespace, tmp_path: Path) -> None:
    flow.ends = Failed(message="out of luck")
    with pytest.raises(TrainingError, match="out of luck"):
        flow_runs.run_flow(tmp_path, "transfer", {}, quiet=True)
