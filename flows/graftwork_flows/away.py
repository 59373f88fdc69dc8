"""Stages on other machines: as tasks of Dask or Ray, or as flow runs of a work pool. Prefect sees and stops them."""

# No `from __future__ import annotations` in this file: Prefect evaluates the annotations of a served flow.

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext, TaskRunContext
from prefect.states import Cancelled, Completed, Failed

from graftwork.errors import GraftworkError, Interrupted, StateError
from graftwork_flows.cancelling import ASK_SECONDS, state_of
from graftwork_flows.children import run_together


@task(name="away", task_run_name="{stage}, away", cache_policy=NO_CACHE, persist_result=False)
def stage_task(stage: str, order: dict[str, Any]) -> dict[str, Any] | State[Any]:
    """Carry out an order on this worker, and return what came of it; a task of the run that gave it."""
    try:
        return _carry_out(stage, order, _flow_run_id())
    except Interrupted as error:
        return Cancelled(message=str(error))


@flow(name="stage", flow_run_name="{stage}", validate_parameters=False)
def stage(stage: str, order: dict[str, Any]) -> State[Any]:
    """Carry out an order of another run, on whichever machine a work pool has; the message is what came of it.

    Args:
        stage: The stage's name.
        order: All that it needs; a run with `runner: pool:<deployment>` makes it.
    """
    try:
        return Completed(message=json.dumps(_carry_out(stage, order, _flow_run_id())))
    except Interrupted as error:
        return Cancelled(message=str(error))
    except GraftworkError as error:
        return Failed(message=json.dumps(as_json(error)), data=error)


def as_json(error: GraftworkError) -> dict[str, str]:
    """Return an error as it is told across machines."""
    return {"what": error.what, "where": error.where, "expected": error.expected, "fix": error.fix}


def _carry_out(stage: str, order: dict[str, Any], run: Any) -> dict[str, Any]:
    """Do the work in a process of its own: a worker's threads, signals and current folder stay what they are."""
    with tempfile.TemporaryDirectory(prefix="graftwork-away-") as folder:
        question, answer = Path(folder) / "order.json", Path(folder) / "done.json"
        question.write_text(json.dumps(order), encoding="utf-8")
        command = ["carry-out", str(question), str(answer)]
        run_together({stage: command}, {}, Path(folder), _AwayProgress(stage, run))
        if not answer.is_file():
            raise StateError("The stage ended without an answer", where=stage, fix="graftwork run starts it again")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found


def _flow_run_id() -> Any:
    task_context, flow_context = TaskRunContext.get(), FlowRunContext.get()
    if task_context is not None:
        return task_context.task_run.flow_run_id
    return flow_context.flow_run.id if flow_context and flow_context.flow_run else None


class _AwayProgress:
    """A stage's progress as lines of the worker's log; it ends when the flow run does."""

    def __init__(self, stage: str, run: Any) -> None:
        self._stage, self._run = stage, run
        self._log = get_run_logger()
        self._asked_at = time.monotonic()

    def log(self, message: str) -> None:
        """Log a line."""
        self._log.info("%s: %s", self._stage, message)

    def advance(self, fraction: float, message: str) -> None:
        """Log a line with the percentage."""
        self._log.info("%s: %.0f %%, %s", self._stage, 100 * fraction, message)

    def check(self) -> None:
        """Raise Interrupted when the run that wants the stage has ended, or shall."""
        if self._run is None or time.monotonic() - self._asked_at < ASK_SECONDS:
            return
        self._asked_at = time.monotonic()
        state = state_of(self._run)
        if state is not None and (state.is_final() or state.is_cancelling()):
            raise Interrupted(f"The run that wanted it is {state.name}", where=self._stage)
