"""One training at a time on a machine: a slot of a limit on the Prefect server, which `graftwork deploy` makes.

The workspace's own lock knows nothing of other workspaces, nor of runs with other settings, which work in folders of
their own: two of them would take each other's cores. Where the server has no such limit, a run just goes on.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType
from prefect.concurrency.sync import concurrency
from prefect.context import FlowRunContext

from graftwork_flows.stopping import Stop

LEASE_SECONDS = 120  # after a kill -9 the slot is free again when its lease has run out
TRY_SECONDS = 2.0  # between two requests
TOLD_SECONDS = 60.0  # between two lines of the log


def limit_name() -> str:
    """Return the name of this machine's limit."""
    name = "".join(mark if mark.isalnum() or mark in "-_." else "-" for mark in platform.node())
    return f"graftwork-{name or 'machine'}"


@contextmanager
def machine_slot(stop: Stop) -> Iterator[None]:
    """Hold this machine's slot while a flow run trains; wait for it, and say so, where another run has it.

    While it waits the run's state is called Waiting. Raises Interrupted where it shall stop meanwhile.
    """
    held = ExitStack()
    if _limited():
        _take(held, stop)
    try:
        yield
    finally:
        with suppress(Exception):  # a server that is gone takes nothing from what was done; the lease runs out
            held.close()


def _limited() -> bool:
    """Tell whether the server limits this machine; a server that can't say doesn't hold up a run."""
    with suppress(Exception), get_client(sync_client=True) as client:
        return client.read_global_concurrency_limit_by_name(limit_name()).limit > 0
    return False


def _take(held: ExitStack, stop: Stop) -> None:
    """Take the slot, which `held` gives back; a server that fails meanwhile doesn't hold up the run either."""
    log, started, told_at = get_run_logger(), time.monotonic(), 0.0
    while True:
        stop.check()
        try:
            held.enter_context(concurrency(limit_name(), timeout_seconds=TRY_SECONDS, lease_duration=LEASE_SECONDS))
            break
        except TimeoutError:
            if not told_at or time.monotonic() - told_at >= TOLD_SECONDS:
                told_at = time.monotonic()
                _call_it("Waiting")
                log.info("waiting until the run that trains on this machine ends (limit %s)", limit_name())
        except Exception as error:
            log.warning("going on without a slot of the limit %s: %s", limit_name(), error)
            break
    if told_at:
        _call_it("Running")
        log.info("going on after %.0f s", time.monotonic() - started)


def _call_it(name: str) -> None:
    """Name the flow run's state, which is of type Running either way."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        return
    with suppress(Exception), get_client(sync_client=True) as client:
        client.set_flow_run_state(context.flow_run.id, State(type=StateType.RUNNING, name=name))
