"""Run a stage graph as Prefect tasks, one for each stage: what both flows share."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from graftwork.errors import GraftworkError, Interrupted
from graftwork.layout import Layout
from graftwork_flows.pipeline import Node
from graftwork_flows.runs import Run, begin
from graftwork_flows.server import require_reachable

UPDATE_SECONDS = 2.0  # each update of a progress artifact is a request
CACHED = {"unchanged": "nothing that it depends on has changed", "restored": "restored from DVC's cache"}


def run_name(what: str) -> str:
    """Return a name that sorts by time and is a valid name of a DVC experiment."""
    return f"{what}-{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]


def run_stages(
    root: Path, recompute: bool, wait_seconds: float, publish: Callable[[Layout], str], goals: Collection[str] = ()
) -> State[Any]:
    """Submit one task for each stage, publish what came out, and end in the state that tells what became of them."""
    log = get_run_logger()
    what = f"flow run {flow_run_name()}"
    with begin(root, goals=goals, force=recompute, wait_seconds=wait_seconds, what=what) as run:
        if run.found:
            log.warning(run.found)
        states = {name: future.state for name, future in _submit(run).items()}
        if run.stop.wanted:
            return Cancelled(message=f"stopped by {run.stop.signal.name}", data=run.stop.error())
        missing = [name for name, state in states.items() if not state.is_completed()]
        if run.failures:
            first = next(iter(run.failures.values()))
            return failed(first, f"{', '.join(missing)} not done. {first}")
        if missing:  # by no fault of theirs
            return Failed(message=f"{', '.join(missing)} not done: Prefect didn't run them")
        verdict = _published(root, publish)
        log.info(verdict)
        fresh = sum(state.name != "Cached" for state in states.values())
        return Completed(message=f"{fresh} of {len(states)} stages computed. {verdict}")


def _published(root: Path, publish: Callable[[Layout], str]) -> str:
    """Publish what came out and return the verdict; a server that is gone takes nothing from a run that is done."""
    try:
        require_reachable()
        return publish(Layout(root))
    except GraftworkError:
        raise
    except Exception as error:
        get_run_logger().warning("the artifacts couldn't be published: %s", error)
        return ""


def _submit(run: Run) -> dict[str, PrefectFuture[Any]]:
    """Submit the stages in graph order, each waiting for those before it, and wait for all."""

    @task(name="stage", task_run_name="{stage}", cache_policy=NO_CACHE, persist_result=False)
    def run_stage(stage: str) -> State[Any]:
        return _stage_state(run, nodes[stage])

    nodes = {node.name: node for node in run.nodes}
    futures: dict[str, PrefectFuture[Any]] = {}
    for node in run.nodes:
        before = [futures[name] for name in node.upstream]
        futures[node.name] = run_stage.submit(node.name, wait_for=before, return_state=False)
    for future in futures.values():
        future.wait()
    return futures


def _stage_state(run: Run, node: Node) -> State[Any]:
    progress = TaskProgress(run, node.name)
    try:
        outcome = run.stage(node, progress)
    except Interrupted as error:
        return Cancelled(message=error.what)
    except GraftworkError as error:
        get_run_logger().error("%s: %s", node.name, error)
        return Failed(message=str(error))
    if outcome == "computed":
        progress.finish()
        return Completed(message="computed")
    return Completed(name="Cached", message=CACHED[outcome])


def failed(error: GraftworkError, message: str = "") -> State[Any]:
    """Return the state of a flow run that ends with an error, which the command line can raise again."""
    return Failed(message=message or str(error), data=error)


def flow_run_name() -> str:
    """Return the name of the flow run that is going on."""
    context = FlowRunContext.get()
    name = context.flow_run.name if context and context.flow_run else None
    return name or run_name("run")


class TaskProgress:
    """A stage's progress as log lines and a progress artifact of its task run."""

    def __init__(self, run: Run, stage: str) -> None:
        self._run, self._stage = run, stage
        self._log = get_run_logger()
        self._artifact: Any = None
        self._told_at = 0.0
        self._warned = False

    def log(self, message: str) -> None:
        """Log a line."""
        self._log.info("%s: %s", self._stage, message)

    def advance(self, fraction: float, message: str) -> None:
        """Log and show the progress, at most every two seconds."""
        if time.monotonic() - self._told_at < UPDATE_SECONDS:
            return
        self._told_at = time.monotonic()
        self._log.info("%s: %.0f %%, %s", self._stage, 100 * fraction, message)
        self._show(100 * fraction)

    def check(self) -> None:
        """Raise Interrupted when the run shall stop."""
        self._run.stop.check()

    def finish(self) -> None:
        """Show that it is done, if it was shown at all."""
        if self._artifact is not None:
            self._show(100.0)

    def _show(self, percent: float) -> None:
        """Show the progress; a server that is gone is no reason to stop computing, or to wait for it."""
        try:
            require_reachable()
            if self._artifact is None:
                key = "progress-" + self._stage.replace("@", "-").replace("_", "-")
                self._artifact = create_progress_artifact(percent, key=key, description=f"Training in {self._stage}")
            else:
                update_progress_artifact(self._artifact, percent)
        except Exception as error:
            if not self._warned:
                self._log.warning("%s: Prefect's server doesn't take the progress: %s", self._stage, error)
            self._warned = True
