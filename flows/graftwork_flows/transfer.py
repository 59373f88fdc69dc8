"""The Prefect flow: one task run for each stage of dvc.yaml, strategies side by side, DVC as the only cache."""

# No `from __future__ import annotations` in this file: Prefect evaluates the annotations of a served flow.

import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from graftwork.errors import GraftworkError, Interrupted
from graftwork.layout import Layout
from graftwork_flows import artifacts
from graftwork_flows.overrides import as_overrides
from graftwork_flows.pipeline import Node
from graftwork_flows.runs import Run, begin
from graftwork_flows.sandbox import sandbox

UPDATE_SECONDS = 2.0  # each update of a progress artifact is a request
CACHED = {"unchanged": "nothing that it depends on has changed", "restored": "restored from DVC's cache"}


def run_name() -> str:
    """Return a name that sorts by time and is a valid name of a DVC experiment."""
    return f"transfer-{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]


@flow(
    name="transfer",
    flow_run_name=run_name,
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]  # Prefect's stub wants a runner of None
    validate_parameters=True,
)
def transfer(
    workspace: str = ".",
    strategies: list[str] = [],  # noqa: B006  # Prefect shows the default in its form
    labels: Annotated[int, Field(ge=0)] = 0,
    seeds: Annotated[int, Field(ge=0, le=100)] = 0,
    finetune_epochs: Annotated[int, Field(ge=0)] = 0,
    overrides: list[str] = [],  # noqa: B006
    recompute: bool = False,
    wait_seconds: Annotated[float, Field(ge=0)] = 0,
) -> State[Any]:
    """Fetch, augment, pretrain, transfer, fine-tune and report: does transferring help on this data?

    Without other settings than those of params.yaml the run works in the workspace itself. With any, it works in
    a git worktree of its own, and its outcome is kept as a DVC experiment of the flow run's name.

    Args:
        workspace: Folder with params.yaml and dvc.yaml, as the worker sees it.
        strategies: Run these strategies of params.yaml only; scratch always runs. None named: all.
        labels: Labelled target images to train on. 0: as in params.yaml.
        seeds: Number of fine-tunings of each strategy, at least 2. 0: as in params.yaml.
        finetune_epochs: Epochs of each fine-tuning. 0: as in params.yaml.
        overrides: Any other settings, each as key=value, such as finetune.lr=0.01
        recompute: Run every stage, changed or not.
        wait_seconds: How long to wait for another run in this workspace to end.
    """
    root = Path(workspace).resolve()
    try:
        changes = as_overrides(root, strategies, labels, seeds, finetune_epochs, overrides)
        if not changes:
            return _tell(run_stages(root, recompute, wait_seconds), lambda: str(Layout(root).report / "report.html"))
        with sandbox(root, changes, _flow_run_name()) as box:
            return _tell(run_stages(box.root, recompute, wait_seconds), box.keep)
    except GraftworkError as error:
        return _failed(error)


def _tell(state: State[Any], report: Callable[[], str]) -> State[Any]:
    """Log where the report of a completed run is."""
    if state.is_completed():
        get_run_logger().info("report: %s", report())
    return state


def run_stages(root: Path, recompute: bool, wait_seconds: float) -> State[Any]:
    """Submit one task for each stage and end in the state that tells what became of them."""
    log = get_run_logger()
    with begin(root, force=recompute, wait_seconds=wait_seconds, what=f"flow run {_flow_run_name()}") as run:
        states = {name: future.state for name, future in _submit(run).items()}
        if run.stop.wanted:
            return Cancelled(message=f"stopped by {run.stop.signal.name}", data=run.stop.error())
        if run.failures:
            missing = [name for name, state in states.items() if not state.is_completed()]
            first = next(iter(run.failures.values()))
            return _failed(first, f"{', '.join(missing)} not done. {first}")
        verdict = artifacts.publish(Layout(root))
        log.info(verdict)
        fresh = sum(state.name != "Cached" for state in states.values())
        return Completed(message=f"{fresh} of {len(states)} stages computed. {verdict}")


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


def _failed(error: GraftworkError, message: str = "") -> State[Any]:
    return Failed(message=message or str(error), data=error)


def _flow_run_name() -> str:
    context = FlowRunContext.get()
    name = context.flow_run.name if context and context.flow_run else None
    return name or run_name()


class TaskProgress:
    """A stage's progress as log lines and a progress artifact of its task run."""

    def __init__(self, run: Run, stage: str) -> None:
        self._run, self._stage = run, stage
        self._log = get_run_logger()
        self._artifact: Any = None
        self._told_at = 0.0

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
        if self._artifact is None:
            key = "progress-" + self._stage.replace("@", "-").replace("_", "-")
            self._artifact = create_progress_artifact(percent, key=key, description=f"Training in {self._stage}")
        else:
            update_progress_artifact(self._artifact, percent)
