"""A cancel in the UI, or through the API, stops a run whoever started it.

A worker ends the processes that it started; nobody tells a run of the command line.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext

from graftwork_flows.server import require_reachable
from graftwork_flows.stopping import Stop

ASK_SECONDS = 5.0  # between two looks at whether a run shall go on


def state_of(flow_run: UUID) -> State[Any] | None:
    """Return a flow run's state; None where the server can't say: it may be away for a while."""
    try:
        require_reachable()
        with get_client(sync_client=True) as client:
            return client.read_flow_run(flow_run).state
    except Exception:
        return None


@contextmanager
def heeding_cancels(stop: Stop) -> Iterator[None]:
    """Let a cancel of the flow run that is going on stop it as SIGTERM does, while the block lasts."""
    context, done = FlowRunContext.get(), threading.Event()
    if context is None or context.flow_run is None:
        yield
        return
    flow_run = context.flow_run.id

    def watch() -> None:
        while not done.wait(ASK_SECONDS) and not stop.wanted:
            state = state_of(flow_run)
            if state is not None and (state.is_cancelling() or state.is_cancelled()) and not done.is_set():
                stop.want(signal.SIGTERM)

    threading.Thread(target=watch, name="cancels", daemon=True).start()
    try:
        yield
    finally:
        done.set()
