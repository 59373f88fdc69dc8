"""Deployments, driven as the UI does it: through a real server's REST interface and a real worker.

The workspace is a folder in somebody else's git checkout. The tests build on each other's results.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from graftwork.layout import Layout
from graftwork_flows.deploying import CRASHED
from graftwork_flows.initialise import initialise
from graftwork_flows.machine_slot import limit_name
from graftwork_flows.run_lock import run_lock
from graftwork_flows.server import running_server
from tests.flows.conftest import call, commit, edit, environment, run
from tests.flows.rest import Api

pytestmark = pytest.mark.slow
AT_ONCE = {"PREFECT_WORKER_QUERY_SECONDS": "1"}
BROKEN = (
    "from dataclasses import dataclass\nfrom graftwork.hookspecs import hookimpl\n\n\n"
    "@dataclass(frozen=True)\nclass Broken:\n    @hookimpl\n    def loss_terms(self, step):\n"
    "        raise ArithmeticError('on purpose')\n\n\n"
    "@hookimpl\ndef register_plugins(register):\n    register.strategy('broken', Broken)\n"
)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's git checkout, with a remote that can't be reached."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "README").write_text("theirs\n")
    call(folder, "git", "init", "-q")
    call(folder, "git", "remote", "add", "origin", "https://nowhere.invalid/theirs.git")
    return folder


@pytest.fixture(scope="module")
def site(theirs: Path, template: Path) -> Iterator[Path]:
    """A workspace in a folder of it, with everything deployed; its server is stopped at the end."""
    folder = theirs / "jobs" / "rows"
    initialise(folder)
    (folder / "data" / "fashion_mnist.npz").unlink()
    for name in ("params.yaml", "data/source.npz", "data/target.npz"):
        shutil.copyfile(template / name, folder / name)
    commit(theirs)
    yield folder
    run(folder, "graftwork", "server", "stop")


@pytest.fixture(scope="module")
def said(site: Path) -> str:
    """What the first deployment printed."""
    return call(site, "graftwork", "deploy")


@pytest.fixture(scope="module")
def api(site: Path, said: str) -> Api:
    server = running_server(site)
    assert server is not None
    return Api(server.url)


@pytest.fixture(scope="module")
def deployments(api: Api) -> dict[str, Any]:
    return {one["name"]: one for one in api.post("/deployments/filter", {})}


@pytest.fixture(scope="module")
def worker(site: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """The worker that `graftwork deploy` names, in the workspace as it says."""
    with (tmp_path_factory.mktemp("worker") / "log").open("wb") as log:
        process = subprocess.Popen(
            ["prefect", "worker", "start", "--pool", "local"], cwd=site, env=environment() | AT_ONCE,
            stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )  # fmt: skip
        yield process
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def assert_once(api: Api) -> None:
    """What deployments need stands on the server once."""
    assert [one["name"] for one in api.post("/automations/filter", {})] == [CRASHED]
    limits = api.post("/v2/concurrency_limits/filter", {})
    assert [one["limit"] for one in limits if one["name"] == limit_name()] == [1]


def start(api: Api, deployment: Any, **parameters: object) -> str:
    created = api.post(f"/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
    return str(created["id"])


def wait_until(holds: Callable[[], bool], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.3)


def processes_of(flow_run: str) -> list[int]:
    """Return the processes that run for a flow run: its id is in the environment of all of them."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"FLOW_RUN_ID={flow_run}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended, or isn't ours
    return found


def test_what_prefect_yaml_names_is_there_with_all_that_it_needs(
    site: Path, said: str, api: Api, deployments: dict[str, Any]
) -> None:
    assert "prefect worker start --pool local" in said and f"Next, in {site}" in said
    assert set(deployments) == {"data-check", "nightly", "sweep"}
    assert [one["schedule"]["cron"] for one in deployments["nightly"]["schedules"]] == ["0 2 * * *"]
    (step,) = deployments["nightly"]["pull_steps"]
    assert step == {"prefect.deployments.steps.set_working_directory": {"directory": str(site)}}
    assert api.get("/work_pools/local")["type"] == "process"
    assert_once(api)


def test_the_form_is_typed_and_refuses_what_can_not_be(api: Api, deployments: dict[str, Any]) -> None:
    fields = deployments["nightly"]["parameter_openapi_schema"]["properties"]
    assert fields["seeds"]["type"] == "integer" and fields["seeds"]["maximum"] == 100
    assert "Labelled target images" in fields["labels"]["description"]
    path = f"/deployments/{deployments['nightly']['id']}/create_flow_run"
    assert "less than the minimum" in api.refusal(path, {"parameters": {"seeds": -1}})
    assert "labels" in api.refusal(path, {"parameters": {"labels": "many"}})


def test_a_schedule_is_paused_stays_so_when_deployed_again_and_goes_on(site: Path, api: Api, said: str) -> None:
    nightly = api.get("/deployments/name/transfer/nightly")
    (schedule,) = nightly["schedules"]
    path = f"/deployments/{nightly['id']}/schedules/{schedule['id']}"
    api.send("PATCH", path, {"active": False})
    assert "0 2 * * * UTC, paused" in call(site, "graftwork", "deploy")
    assert_once(api)
    assert [one["active"] for one in api.get("/deployments/name/transfer/nightly")["schedules"]] == [False]
    api.send("PATCH", path, {"active": True})
    assert [one["active"] for one in api.get("/deployments/name/transfer/nightly")["schedules"]] == [True]


@pytest.mark.usefixtures("worker")
def test_the_data_is_checked_and_nothing_is_trained(site: Path, api: Api, deployments: dict[str, Any]) -> None:
    checked = start(api, deployments["data-check"])
    assert api.wait_for(checked)["state_name"] == "Completed"
    assert set(api.tasks(checked)) == {"fetch@source", "fetch@target", "augment@source", "augment@target"}
    assert "2 data sets" in api.artifacts()["data-check"]["data"]
    assert not (site / "weights" / "source").exists()


@pytest.mark.usefixtures("worker")
def test_a_run_with_other_settings_leaves_their_checkout_as_it_was(
    theirs: Path, site: Path, api: Api, deployments: dict[str, Any]
) -> None:
    commit(theirs)
    created = start(api, deployments["nightly"], strategies=["full_copy"], finetune_epochs=1, workspace=".")
    ended = api.wait_for(created)
    assert ended["state_name"] == "Completed", api.logs(created)
    assert "finetune@freeze" not in api.tasks(created)
    assert ended["name"] in call(site, "dvc", "exp", "list", "--name-only")
    assert any(ended["name"] in file.read_text() for file in Layout(site).logs.glob("*.log")), "its log stays"
    assert call(theirs, "git", "status", "--porcelain") == ""


@pytest.mark.usefixtures("worker")
def test_a_failed_run_says_what_is_missing_and_its_retry_takes_the_finished_stages_from_the_cache(
    site: Path, api: Api, deployments: dict[str, Any]
) -> None:
    file, good = site / "strategies" / "broken.py", (site / "params.yaml").read_text()
    file.write_text(BROKEN)
    edit(site / "params.yaml", "  freeze:", "  bad: [full_copy, broken]\n  freeze:")
    created = start(api, deployments["nightly"])
    assert api.wait_for(created)["state_name"] == "Failed"
    states = api.tasks(created)
    assert states["finetune@bad"] == "Failed" and states["finetune@freeze"] == "Completed"
    assert states["report without bad"] == "Completed" and states["report"] == "NotReady"
    told = api.logs(created)
    assert "ArithmeticError: on purpose" in told and "graftwork_flows/runs.py" not in told
    (log,) = [text for file in Layout(site).logs.glob("*.log") if "on purpose" in (text := file.read_text())]
    assert "broken.py" in log
    file.write_text(BROKEN.replace("raise ArithmeticError('on purpose')", "return 0.0 * step.logits.sum()"))
    call(site, "prefect", "flow-run", "retry", created)
    api.wait_for(created, 60, "AwaitingRetry", "Running", "Pending")
    ended = api.wait_for(created)
    (site / "params.yaml").write_text(good)
    file.unlink()
    assert ended["state_name"] == "Completed", api.logs(created)
    states = api.tasks(created)
    assert states["pretrain@source"] == states["finetune@freeze"] == "Cached"
    assert states["finetune@bad"] == states["report"] == "Completed"


@pytest.mark.usefixtures("worker")
def test_of_two_runs_one_waits_until_the_other_is_cancelled_and_nothing_of_that_is_left(
    site: Path, api: Api, deployments: dict[str, Any]
) -> None:
    edit(site / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 100000")
    long = start(api, deployments["nightly"])
    wait_until(
        lambda: "Running" in {state for name, state in api.tasks_now(long).items() if name.startswith("finetune@")}
    )
    other = start(api, deployments["sweep"])
    assert api.wait_for(other, 300, "Waiting")["state_name"] == "Waiting", api.logs(other)
    assert processes_of(long)
    edit(site / "params.yaml", "finetune: {epochs: 100000", "finetune: {epochs: 2")
    api.post(f"/flow_runs/{long}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert api.wait_for(long)["state_name"] == "Cancelled"
    assert any(Layout(site).checkpoints().rglob("newest/manifest.json"))
    wait_until(lambda: not processes_of(long), seconds=20)
    assert api.wait_for(other)["state_name"] == "Completed", api.logs(other)
    assert "waiting until the run that trains on this machine ends" in api.logs(other)
    with run_lock(Layout(site).private, "this test"):
        pass
    limit = api.get(f"/v2/concurrency_limits/{limit_name()}")
    assert limit["active_slots"] == 0
