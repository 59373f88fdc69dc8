"""The Prefect flow: one task run for each stage of dvc.yaml, strategies side by side, DVC as the only cache."""

# No `from __future__ import annotations` in this file: Prefect evaluates the annotations of a served flow.

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from graftwork.layout import Layout
from graftwork_flows import artifacts
from graftwork_flows.flow_body import as_flow, flow_run_name, run_name
from graftwork_flows.overrides import as_overrides
from graftwork_flows.run_log import run_log
from graftwork_flows.runners import Runner
from graftwork_flows.sandbox import sandbox
from graftwork_flows.stopping import Stop
from graftwork_flows.tasks import report_partially, run_stages


@flow(
    name="transfer",
    flow_run_name=lambda: run_name("transfer"),
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
    runner: str = "",
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
        runner: Where trainings run: threads (here), dask:tcp://host:8786, ray:ray://host:10001, pool:stage/away.
    """
    root = Path(workspace).resolve()

    def work(stop: Stop) -> State[Any]:
        where = Runner.named(runner)
        changes = as_overrides(root, strategies, labels, seeds, finetune_epochs, overrides)

        def run_in(folder: Path) -> State[Any]:
            page = Layout(root).kept_report(flow_run_name())
            return run_stages(
                folder, stop, recompute, wait_seconds, artifacts.publish,
                undone=lambda run: report_partially(run, page), runner=where, home=root,
            )  # fmt: skip

        if not changes:
            return _tell(run_in(root), lambda: str(Layout(root).report / "report.html"))
        with run_log(Layout(root), flow_run_name()), sandbox(root, changes, flow_run_name()) as box:
            return _tell(run_in(box.root), box.keep)

    return as_flow(root, work)


def _tell(state: State[Any], report: Callable[[], str]) -> State[Any]:
    """Log where the report of a completed run is."""
    if state.is_completed():
        get_run_logger().info("report: %s", report())
    return state
