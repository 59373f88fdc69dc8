"""Run a stage graph as Prefect tasks, one for each stage: what both flows share."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from graftwork.errors import GraftworkError, Interrupted, listed
from graftwork.layout import Layout
from graftwork_flows import artifacts
from graftwork_flows.flow_body import failed, flow_run_id, flow_run_name
from graftwork_flows.machine_slot import machine_slot
from graftwork_flows.partial import missing_strategies, report_without
from graftwork_flows.pipeline import Node
from graftwork_flows.runners import AT_ONCE, Runner, going_out
from graftwork_flows.runs import CHECKED, Run, begin
from graftwork_flows.server import require_reachable
from graftwork_flows.stopping import Stop

UPDATE_SECONDS = 2.0  # each update of a progress artifact is a request
CACHED = {"unchanged": "nothing that it depends on has changed", "restored": "restored from DVC's cache"}


def run_stages(
    root: Path, stop: Stop, recompute: bool, wait_seconds: float, publish: Callable[[Layout], str],
    goals: Collection[str] = (), undone: Callable[[Run], str] | None = None,
    runner: Runner = Runner(),  # noqa: B008  # frozen
    home: Path | None = None,
) -> State[Any]:  # fmt: skip
    """Submit one task for each stage, publish what came out, and end in the state that tells what became of them.

    `undone` publishes what can be told where stages failed, and returns a sentence on it; `home` is as in `begin`.
    """
    log = get_run_logger()
    what = f"flow run {flow_run_name()} {flow_run_id()}".rstrip()

    def tell(line: str) -> None:
        log.log(logging.WARNING if line.startswith("warning: ") else logging.INFO, line)

    slot = nullcontext() if tuple(goals) == CHECKED else machine_slot(stop)
    with (
        slot,
        begin(
            root, goals=goals, force=recompute, wait_seconds=wait_seconds, what=what, tell=tell, stop=stop, home=home
        ) as run,
        going_out(runner, run),
    ):
        states = {name: future.state for name, future in _submit(run).items()}
        run.stop.check()
        missing = [name for name, state in states.items() if not state.is_completed()]
        if run.failures:
            first = next(iter(run.failures.values()))
            told = undone(run) if undone else ""
            return failed(first, f"{', '.join(missing)} not done. {told}{first}")
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
        return _stage_state(run, nodes[stage], shown)

    shown: set[str] = set()
    nodes = {node.name: node for node in run.nodes}
    futures: dict[str, PrefectFuture[Any]] = {}
    with _threads(run) as threads:
        for node in run.nodes:
            before = [futures[name] for name in node.upstream]
            futures[node.name] = threads.submit(run_stage, {"stage": node.name}, wait_for=before)
        for future in futures.values():
            future.wait()
    return futures


@contextmanager
def _threads(run: Run) -> Iterator[Any]:
    """Yield what waits for stages: the flow's own few threads, as all share the computing one; or many, for workers."""
    if run.away is None:
        context = FlowRunContext.get()
        assert context is not None
        yield context.task_runner
        return
    with ThreadPoolTaskRunner(max_workers=AT_ONCE) as threads:  # type: ignore[var-annotated]
        yield threads


def _stage_state(run: Run, node: Node, shown: set[str]) -> State[Any]:
    progress = TaskProgress(run, node.name, shown)
    try:
        outcome = run.stage(node, progress)
    except Interrupted as error:
        return Cancelled(message=error.what)
    except GraftworkError as error:
        get_run_logger().error("%s: %s", node.name, error)
        return Failed(message=str(error))
    finally:
        shown.discard(node.name)
    if outcome == "computed":
        progress.finish()
        return Completed(message="computed")
    progress.log("cached")  # Prefect's own line on it doesn't say of which stage
    return Completed(name="Cached", message=CACHED[outcome])


def report_partially(run: Run, page: Path) -> str:
    """Report on the strategies that are there, in a task of its own; return a sentence on it, or nothing.

    DVC doesn't record it: the stage `report` stays undone, and its task is NotReady.
    """
    missing = missing_strategies(run)
    if not missing:
        return ""
    name = f"report without {listed(missing, 3)}"

    @task(name="partial report", task_run_name=lambda: name, cache_policy=NO_CACHE, persist_result=False)
    def report() -> State[Any]:
        try:
            partial = report_without(run, missing, page, TaskProgress(run, name, set()))
            artifacts.publish_partial(Layout(run.root), partial)
        except GraftworkError as error:
            get_run_logger().error("%s", error)
            return Failed(message=str(error))
        get_run_logger().info("report: %s", page)
        return Completed(message=f"without {listed(missing)}: {page}")

    done = report(return_state=True).is_completed()
    return f"Report without {listed(missing)}: {page}. " if done else ""


class TaskProgress:
    """A stage's progress as log lines and a progress artifact of its task run.

    `shown` are the stages of the run that show theirs: all of them together make one request in two seconds.
    """

    def __init__(self, run: Run, stage: str, shown: set[str]) -> None:
        self._run, self._stage, self._shown = run, stage, shown
        self._log = get_run_logger()
        self._artifact: Any = None
        self._told_at = 0.0
        self._warned = False

    def log(self, message: str) -> None:
        """Log a line."""
        self._log.info("%s: %s", self._stage, message)

    def advance(self, fraction: float, message: str) -> None:
        """Log and show the progress, at most every two seconds, less often beside other stages."""
        self._shown.add(self._stage)
        if time.monotonic() - self._told_at < UPDATE_SECONDS * len(self._shown):
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
                self._artifact = create_progress_artifact(percent, key=key, description=f"How far {self._stage} is")
            else:
                update_progress_artifact(self._artifact, percent)
        except Exception as error:
            if not self._warned:
                self._log.warning("%s: Prefect's server doesn't take the progress: %s", self._stage, error)
            self._warned = True
