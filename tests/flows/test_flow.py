"""The flow on a real Prefect server: states, artifacts, the form, other settings, failures, the schedule."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graftwork_flows.server import running_server
from tests.flows.conftest import begun, call, commit, edit, environment, run
from tests.flows.rest import Api

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One workspace with one server for all tests of this module, which build on each other's results."""
    import shutil

    folder = Path(shutil.copytree(template, tmp_path_factory.mktemp("flow") / "workspace"))
    yield folder
    run(folder, "graftwork", "server", "stop")


@pytest.fixture
def api(site: Path) -> Api:
    call(site, "graftwork", "server", "start")
    server = running_server(site)
    assert server is not None
    return Api(server.url)


def test_a_run_is_a_task_for_each_stage_and_a_second_one_is_cached(site: Path, api: Api) -> None:
    said = call(site, "graftwork", "run")
    assert "report: " in said and "UI: http://127.0.0.1" in said
    first = api.last_run()
    assert set(api.tasks(first["id"]).values()) == {"Completed"}
    assert len(api.tasks(first["id"])) == 17
    again = call(site, "graftwork", "run")
    assert "nothing to do" in again and api.last_run()["id"] == first["id"]
    call(site, sys.executable, "-c", "from graftwork_flows.transfer import transfer; transfer()")  # as a worker does
    second = api.last_run()
    assert second["id"] != first["id"]
    assert set(api.tasks(second["id"]).values()) == {"Cached"}
    assert "up to date" in call(site, "dvc", "status")
    artifacts = api.post("/artifacts/latest/filter", {})
    shown = {artifact["key"]: artifact for artifact in artifacts}
    assert {"transfer-report", "strategies"} <= set(shown)
    assert "| full_copy |" in shown["transfer-report"]["data"]
    assert "data:image/png;base64," in shown["transfer-report"]["data"]


def test_other_settings_run_apart_and_are_kept_as_an_experiment(site: Path, api: Api) -> None:
    lock, settings = ((site / name).read_bytes() for name in ("dvc.lock", "params.yaml"))
    commit(site)
    said = call(site, "graftwork", "run", "--set", "finetune.epochs=1", "--strategy", "full_copy")
    assert (site / "dvc.lock").read_bytes() == lock
    assert (site / "params.yaml").read_bytes() == settings
    name = api.last_run()["name"]
    assert name in call(site, "dvc", "exp", "list", "--name-only")
    told = Path(re.search(r"report: (\S+?);", said)[1])  # type: ignore[index]
    assert told == site / ".graftwork" / "reports" / f"{name}.html" and told.is_file()
    assert "worktrees" not in call(site, "git", "worktree", "list")


def test_a_failed_strategy_fails_its_task_while_others_go_on(site: Path, api: Api) -> None:
    good = (site / "params.yaml").read_text()
    (site / "strategies" / "broken.py").write_text(
        "from dataclasses import dataclass\nfrom graftwork.hookspecs import hookimpl\n\n\n"
        "@dataclass(frozen=True)\nclass Broken:\n    @hookimpl\n    def loss_terms(self, step):\n"
        "        raise ArithmeticError('on purpose')\n\n\n"
        "@hookimpl\ndef register_plugins(register):\n    register.strategy('broken', Broken)\n"
    )
    edit(site / "params.yaml", "  freeze:", "  bad: [full_copy, broken]\n  freeze:")
    done = run(site, "graftwork", "run")
    (site / "strategies" / "broken.py").unlink()
    (site / "params.yaml").write_text(good)
    assert done.returncode == 5
    assert "on purpose" in done.stderr and "finetune@bad" in done.stderr and "Traceback" not in done.stderr
    states = api.tasks(api.last_run()["id"])
    assert states["finetune@bad"] == "Failed"
    assert states["finetune@freeze"] in ("Completed", "Cached")
    assert states["report"] == "NotReady"
    assert states["report without bad"] == "Completed"
    last = api.last_run()
    assert last["state_name"] == "Failed"
    page = site / ".graftwork" / "reports" / f"{last['name']}.html"
    assert f"report: {page}" in done.stdout and "It lacks" in page.read_text()
    shown = api.artifacts()["transfer-report"]["data"]
    assert "This report is partial" in shown and "bad is missing: finetune: ArithmeticError: on purpose" in shown
    assert "bad" not in (site / "report" / "metrics.json").read_text()


@pytest.mark.parametrize("by", ["ctrl-c", "the server"])
def test_ctrl_c_or_a_cancel_at_the_server_cancels_the_run_and_the_exit_code_says_so(
    by: str, site: Path, api: Api
) -> None:
    good = (site / "params.yaml").read_text()
    edit(site / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 4000")
    with begun(site, "graftwork", "run", until="finetune@") as process:
        if by == "ctrl-c":
            process.send_signal(signal.SIGINT)
        else:
            cancelling = {"state": {"type": "CANCELLING", "name": "Cancelling"}}
            api.post(f"/flow_runs/{api.last_run()['id']}/set_state", cancelling)
        _, said = process.communicate(timeout=30)
    (site / "params.yaml").write_text(good)
    number = signal.SIGINT if by == "ctrl-c" else signal.SIGTERM
    assert process.returncode == 128 + number
    assert f"Stopped by {number.name}" in said and "graftwork run goes on" in said
    assert api.last_run()["state_name"] == "Cancelled"


def test_a_served_flow_runs_from_its_form_and_stops_on_request(site: Path, api: Api) -> None:
    process = subprocess.Popen(
        ["graftwork", "serve", "--cron", "0 2 * * *"], cwd=site, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
    )  # fmt: skip
    try:
        deployment = _deployment(api)
        assert deployment["schedules"][0]["schedule"]["cron"] == "0 2 * * *"
        fields = deployment["parameter_openapi_schema"]["properties"]
        assert fields["labels"]["type"] == "integer" and "Labelled target images" in fields["labels"]["description"]
        created = api.post(f"/deployments/{deployment['id']}/create_flow_run", {})
        assert api.wait_for(created["id"])["state_name"] == "Completed"
        bad = api.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": {"strategies": ["nope"]}})
        ended = api.wait_for(bad["id"])
        assert ended["state_name"] == "Failed"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)


def _deployment(api: Api) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = api.post("/deployments/filter", {})
        if found:
            return found[0]
        time.sleep(0.5)
    raise AssertionError("no deployment appeared")


@pytest.mark.parametrize(("origin", "allowed"), [("http://evil.example", False), ("", True)])
def test_another_sites_page_may_not_start_runs(origin: str, allowed: bool, api: Api) -> None:
    """Who may start a run may run code: a browser asks the server first, which allows its own pages alone."""
    own = api.url.removesuffix("/api")
    asked = {"Origin": origin or own, "Access-Control-Request-Method": "POST"}
    asked["Access-Control-Request-Headers"] = "content-type"
    request = urllib.request.Request(f"{api.url}/flow_runs/filter", headers=asked, method="OPTIONS")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found = answer.headers.get("Access-Control-Allow-Origin")
    except urllib.error.HTTPError as error:
        found = error.headers.get("Access-Control-Allow-Origin")
    assert found == (own if allowed else None)


def test_the_server_is_stopped_and_says_so(site: Path, api: Api) -> None:
    assert "running" in call(site, "graftwork", "server", "status")
    assert "stopped" in call(site, "graftwork", "server", "stop")
    assert "not running" in call(site, "graftwork", "server", "status")


def test_a_sweep_is_a_flow_of_its_own(site: Path, api: Api) -> None:
    said = call(site, "graftwork", "sweep")
    assert "With 5 labels a class full_copy" in said and "UI: http://127.0.0.1" in said
    last = api.last_run()
    assert last["name"].startswith("sweep-") and last["state_name"] == "Completed"
    states = api.tasks(last["id"])
    assert states["cells@source-full_copy"] == states["sweep"] == "Completed"
    assert "finetune@full_copy" not in states
    shown = {artifact["key"]: artifact for artifact in api.post("/artifacts/latest/filter", {})}
    assert "With 2 labels a class" in shown["sweep-report"]["data"]
    assert "5 labels" in shown["sweep"]["data"]
