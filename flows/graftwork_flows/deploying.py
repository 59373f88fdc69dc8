"""Bring the deployments of prefect.yaml to a Prefect server, with what they need there: pool, limit, automation."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.errors import SettingsError, StateError
from graftwork.params_file import load_settings
from graftwork.workspace import PARAMS
from graftwork.yaml_source import YamlSource, read_yaml
from graftwork_flows.console import say
from graftwork_flows.flow_runs import require_server
from graftwork_flows.server import is_own

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.events.schemas.automations import AutomationCore

FILE = "prefect.yaml"
FLOWS = ["transfer", "sweep", "check", "stage"]
CRASHED = "graftwork: runs that went silent are crashed"
SET_FOLDER = "prefect.deployments.steps.set_working_directory"
SILENT_SECONDS = 180  # of one heartbeat in 30: so long may a server be gone, and its runs not be taken for dead


@dataclass(frozen=True)
class Wanted:
    """A deployment of prefect.yaml."""

    name: str
    pool: str


def deploy(root: Path) -> None:
    """Make what prefect.yaml names, or bring it up to date, and print what to run next.

    Raises SettingsError for a prefect.yaml that can't be, StateError where there is none or no server answers. A
    schedule that was paused stays so, and a limit or an automation that was changed by hand stays as it is.
    """
    load_settings(root / PARAMS)
    wanted = read_deployments(root)
    ui = require_server(root)
    os.chdir(root)  # Prefect reads its settings, and deploys, in the current folder
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for pool in dict.fromkeys(one.pool for one in wanted):
            _make_pool(client, pool)
        found = _deploy_all(client, root, wanted)
        _make_limit(client)
        _make_automation(client)
        _tell(client, root, found, [one.pool for one in wanted], ui)


def read_deployments(root: Path) -> list[Wanted]:
    """Return the deployments of the workspace's prefect.yaml. Raises SettingsError and StateError."""
    if not (root / FILE).is_file():
        raise StateError(
            f"There is no {FILE} here, so there is nothing to deploy", where=str(root),
            fix=f"graftwork init in an empty folder writes one; copy its {FILE}",
        )  # fmt: skip
    source = read_yaml(root / FILE)
    listed = source.values.get("deployments")
    if not isinstance(listed, list) or not listed:
        raise SettingsError(
            f"{FILE} names no deployments", where=source.place(("deployments",)), expected="a list under deployments",
            fix="graftwork init in an empty folder writes a good one to compare with",
        )  # fmt: skip
    wanted = [_wanted(source, number, entry) for number, entry in enumerate(listed)]
    twice = [one.name for number, one in enumerate(wanted) if one.name in {other.name for other in wanted[:number]}]
    if twice:
        raise SettingsError(f"Two deployments are called {twice[0]!r}", where=str(source.path), fix="rename one")
    return wanted


def _wanted(source: YamlSource, number: int, entry: object) -> Wanted:
    """Check what Prefect would pass over with a remark, and leave out."""
    values = entry if isinstance(entry, dict) else {}
    pool = values.get("work_pool")
    found = {
        "name": values.get("name"),
        "entrypoint": values.get("entrypoint"),
        "work_pool.name": pool.get("name") if isinstance(pool, dict) else None,
    }
    for key, value in found.items():
        if not isinstance(value, str) or not value:
            raise SettingsError(
                f"A deployment has no {key}", where=source.place(("deployments", number, *key.split("."))),
                expected="name, entrypoint, such as graftwork_flows.transfer:transfer, and work_pool: {name: local}",
                fix="add it",
            )  # fmt: skip
    return Wanted(str(found["name"]), str(found["work_pool.name"]))


def _make_pool(client: SyncPrefectClient, name: str) -> None:
    """Make a pool whose runs are processes on the worker's machine; one that is there stays as it is."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectNotFound
    from prefect.workers.process import ProcessWorker

    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _deploy_all(client: SyncPrefectClient, root: Path, wanted: Sequence[Wanted]) -> list[DeploymentResponse]:
    """Let Prefect deploy all that prefect.yaml names, as its own command does; return what is on the server now.

    Its command passes over what it can't read, and says so in passing: so the server is asked before and after.
    """
    there = _deployments(client, wanted)
    if not is_own(root):
        _require_ours(there, root)
    before = {one.id: one.updated for one in there}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    environment = {**os.environ, "COLUMNS": "400", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    found = [one for one in _deployments(client, wanted) if before.get(one.id) != one.updated]
    undone = {one.name for one in wanted} - {one.name for one in found}
    if done.returncode or undone:
        raise StateError(
            f"Prefect can't deploy {' and '.join(sorted(undone)) or FILE}: {_complaint(done.stdout + done.stderr)}",
            where=str(root / FILE), expected="deployments as Prefect documents them",
            fix=f"mend {FILE}; prefect --no-prompt deploy --all says more",
        )  # fmt: skip
    return found


def _require_ours(there: Sequence[DeploymentResponse], root: Path) -> None:
    """Raise StateError where a deployment of the same name works in another folder: it would be taken over."""
    for one in there:
        steps = [step.get(SET_FOLDER, {}) for step in one.pull_steps or ()]
        other = next((str(step["directory"]) for step in steps if step.get("directory")), str(root))
        if Path(other).resolve() != root.resolve():
            raise StateError(
                f"On this server {one.name!r} is a deployment of another workspace", where=other,
                expected="a name of this workspace's own", fix=f"rename it in {root / FILE}, or delete it in the UI",
            )  # fmt: skip


def _deployments(client: SyncPrefectClient, wanted: Sequence[Wanted]) -> list[DeploymentResponse]:
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    names = DeploymentFilterName(any_=[one.name for one in wanted])
    return client.read_deployments(deployment_filter=DeploymentFilter(name=names))


def _complaint(said: str) -> str:
    """Return the line of Prefect's output that tells most: an exception's last, else the last of all."""
    lines = [line.strip(" │╭╰─╮╯\t") for line in said.splitlines()]
    lines = [line for line in lines if line and line != "An exception occurred."]
    errors = [line for line in lines if "Error" in line.partition(":")[0] or line.startswith(("Invalid", "•"))]
    return (errors or lines or ["it says nothing"])[-1]


def _make_limit(client: SyncPrefectClient) -> None:
    """Limit this machine to one training at a time, unless there is a limit already."""
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    from graftwork_flows.machine_slot import limit_name

    try:
        client.read_global_concurrency_limit_by_name(limit_name())
    except ObjectNotFound:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=limit_name(), limit=1))


def _make_automation(client: SyncPrefectClient) -> None:
    """Have runs marked Crashed whose process is gone, unless there is such an automation already."""
    if not client.read_automations_by_name(CRASHED):
        client.create_automation(_automation())


def _automation() -> AutomationCore:
    """Return the rule: a run of ours that sent a heartbeat sends another, or ends, within SILENT_SECONDS."""
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

    heartbeat, ends = "prefect.flow-run.heartbeat", ("Completed", "Failed", "Cancelled", "Crashed")
    trigger: dict[str, Any] = {
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "match_related": {"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
        "after": {heartbeat},
        "expect": {heartbeat, *(f"prefect.flow-run.{end}" for end in ends)},
        "for_each": {"prefect.resource.id"},
        "posture": Posture.Proactive,
        "threshold": 1,
        "within": timedelta(seconds=SILENT_SECONDS),
    }
    told = f"No heartbeat for {SILENT_SECONDS} seconds: its process is gone. The next run goes on from its checkpoint."
    return AutomationCore(
        name=CRASHED,
        description=f"Of the flows {', '.join(FLOWS)}. Made by `graftwork deploy`; delete it to have it made anew.",
        trigger=EventTrigger(**trigger),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, name="Crashed", message=told, force=False)],
    )


def _tell(
    client: SyncPrefectClient, root: Path, found: Sequence[DeploymentResponse], pools: Sequence[str], ui: str
) -> None:
    from graftwork_flows.machine_slot import limit_name

    flows = {one.id: one.name for one in client.read_flows()}
    by_name = {f"{flows.get(one.flow_id, '?')}/{one.name}": one for one in found}
    for name, deployment in sorted(by_name.items()):
        say(f"{name:<20} {_schedule(deployment)}")
    most = client.read_global_concurrency_limit_by_name(limit_name()).limit
    say(f"At most {most} training at a time on this machine (limit {limit_name()}); runs that go silent are crashed.")
    say(f"UI: {ui}/deployments")
    say(f"Next, in {root}, as long as runs shall start:")
    for pool in dict.fromkeys(pools):
        say(f"  prefect worker start --pool {shlex.quote(pool)}")
    say("For a run at once, of one of these names:")
    say("  prefect deployment run NAME --watch")


def _schedule(deployment: DeploymentResponse) -> str:
    """Return when it runs, in words."""
    told = []
    for one in deployment.schedules:
        cron = getattr(one.schedule, "cron", None)
        when = f"{cron} {getattr(one.schedule, 'timezone', None) or 'UTC'}" if cron else str(one.schedule)
        told.append(when + ("" if one.active else ", paused"))
    return "; ".join(told) or "when asked"
