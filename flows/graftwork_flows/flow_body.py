"""What every flow of ours does around its work: say who it is, heed signals and cancels, end in a state that tells."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.states import Cancelled, Failed

from graftwork.errors import GraftworkError, Interrupted
from graftwork_flows.cancelling import heeding_cancels
from graftwork_flows.crashed import note_flow_run
from graftwork_flows.stopping import Stop, stop_on_signals

SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,99}")


def as_flow(root: Path, work: Callable[[Stop], State[Any]]) -> State[Any]:
    """Do a flow's work in a workspace; `work` looks at the wish to stop from its first moment on."""
    note_flow_run(root)
    stop = Stop()
    try:
        with stop_on_signals(stop), heeding_cancels(stop):
            return work(stop)
    except GraftworkError as error:
        return failed(error)


def failed(error: GraftworkError, message: str = "") -> State[Any]:
    """Return the state of a flow run that ends with an error, which the command line can raise again.

    Of a deployed run nobody does; Prefect would log the whole traceback, which is in the workspace's own log.
    """
    if isinstance(error, Interrupted):
        return Cancelled(message=f"stopped by {signal.Signals(error.exit_code - 128).name}", data=error)
    context = FlowRunContext.get()
    deployed = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
    return Failed(message=message or str(error), data=None if deployed else error)


def run_name(what: str) -> str:
    """Return a name that sorts by time and is a valid name of a DVC experiment."""
    return f"{what}-{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]


def flow_run_name() -> str:
    """Return the name of the flow run that is going on, or one of ours where that can't name a folder and a git ref.

    Who starts a run through the API may name it anything.
    """
    context = FlowRunContext.get()
    name = context.flow_run.name if context and context.flow_run else None
    return name if name and SAFE_NAME.fullmatch(name) else run_name("run")


def flow_run_id() -> str:
    """Return the id of the flow run that is going on, by which the Prefect UI finds it."""
    context = FlowRunContext.get()
    return str(context.flow_run.id) if context and context.flow_run else ""
