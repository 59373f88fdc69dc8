"""A Prefect server that goes away, and flow runs whose process does: nothing computed is lost, states come right."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graftwork_flows.server import Server, running_server
from tests.flows.conftest import begun, call, edit, run
from tests.flows.rest import Api

pytestmark = pytest.mark.slow
LONG = ("finetune: {epochs: 2", "finetune: {epochs: 100")


@pytest.fixture(scope="module")
def site(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One workspace with one server, which the tests of this module kill."""
    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("gone") / "workspace"))
    edit(folder / "params.yaml", *LONG)
    yield folder
    run(folder, "graftwork", "server", "stop")


def the_server(site: Path) -> Server:
    """Return the workspace's server, which on a busy machine may not answer at once."""
    deadline = time.monotonic() + 180
    while (found := running_server(site)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return found


def state_of(api: Api, flow_run: str) -> Any:
    return api.post("/flow_runs/filter", {"flow_runs": {"id": {"any_": [flow_run]}}})[0]["state"]


def test_a_run_whose_server_is_killed_completes_and_says_so(site: Path) -> None:
    with begun(site, "graftwork", "run", until="finetune@", PREFECT_CLIENT_MAX_RETRIES="1") as process:
        server = the_server(site)
        last = Api(server.url).last_run()["id"]
        os.killpg(server.pid, signal.SIGKILL)
        told = "".join(process.communicate(timeout=240))
    assert process.returncode == 0, told
    assert "warning: the Prefect server" in told and "is gone" in told
    assert "up to date" in call(site, "dvc", "status")
    call(site, "graftwork", "check", "--recompute")  # with nothing to do it would start no server
    server = the_server(site)
    assert state_of(Api(server.url), last)["type"] == "CRASHED"


def test_a_run_that_is_killed_is_marked_crashed_by_the_next_and_so_are_its_tasks(site: Path) -> None:
    edit(site / "params.yaml", "finetune: {epochs: 100", "finetune: {epochs: 101")
    with begun(site, "graftwork", "run", until="finetune@") as process:
        process.kill()
    server = the_server(site)
    api = Api(server.url)
    killed = api.last_run()
    assert killed["state_type"] == "RUNNING"
    done = run(site, "graftwork", "run")
    assert done.returncode == 0, done.stderr
    assert f"{killed['name']} {killed['id']}, process {process.pid}" in done.stderr and "died" in done.stderr
    state = state_of(api, killed["id"])
    assert state["type"] == "CRASHED" and "Its process ended" in state["message"]
    assert not {"Running", "Pending"} & set(api.tasks(killed["id"]).values())
    assert api.last_run()["state_type"] == "COMPLETED"
