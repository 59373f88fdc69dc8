"""Flow runs whose process died: noted as they begin, told to the server by the next one in the workspace.

A process that is killed can't say so itself, and a server that was gone heard nothing: the run would stay Running.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.processes import process_of, this_process
from graftwork.secrets import without_secrets
from graftwork_flows.server import is_own

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

MESSAGE = "Its process ended without telling how; what it finished is recorded, and the next run goes on from there"


def note_flow_run(root: Path) -> None:
    """Note the flow run that is going on with its process, and report those before it that died. Never raises.

    To be called in a flow, of the workspace in which it was started.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    try:
        place = _notes(root) / f"{context.flow_run.id}.json"  # where a run that is tried again has its dead process
        api = _api(root)
        write_json(place, {"process": str(this_process()), "api": api})
        report_crashed(root, api)
    except Exception as error:  # of the network, of the disk: no reason not to compute
        get_run_logger().warning("runs that died before couldn't be looked for: %s", error)


def report_crashed(root: Path, api: str) -> None:
    """Set to Crashed what the server at `api` takes for running, and whose process, of this machine, is no more."""
    for note in sorted(_notes(root).glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError), get_client(sync_client=True) as client:
            stored = json.loads(note.read_text(encoding="utf-8"))
            process = process_of(stored["process"])
            if stored["api"] == api and process is not None and _settled(client, UUID(note.stem), process.dead):
                note.unlink()


def _settled(client: SyncPrefectClient, flow_run: UUID, dead: bool) -> bool:
    """Tell whether nothing more is to be said of a flow run; of one that runs in a dead process, it is said now."""
    try:
        state = client.read_flow_run(flow_run).state
    except ObjectNotFound:
        return True
    if dead and state is not None and (state.is_running() or state.is_cancelling()):  # else it may be tried again
        client.set_flow_run_state(flow_run, Crashed(message=MESSAGE), force=True)
        _crash_tasks(client, flow_run)
    return dead or (state is not None and state.is_final())


def _crash_tasks(client: SyncPrefectClient, flow_run: UUID) -> None:
    """Set the tasks that were going on to Crashed, too."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    for task in client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run]))):
        if task.state is not None and not task.state.is_final():
            client.set_task_run_state(task.id, Crashed(message=MESSAGE), force=True)


def _notes(root: Path) -> Path:
    return Layout(root).private / "flow_runs"


def _api(root: Path) -> str:
    """Return the server's address; nothing for the workspace's own, which may come back on another port."""
    return "" if is_own(root) else without_secrets(os.environ.get("PREFECT_API_URL", ""))
