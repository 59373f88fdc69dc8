"""The Prefect flow of a sweep: a task run for each source and strategy, whose cells are trained once and kept."""

# No `from __future__ import annotations` in this file: Prefect evaluates the annotations of a served flow.

from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from graftwork_flows import artifacts
from graftwork_flows.flow_body import as_flow, run_name
from graftwork_flows.runners import Runner
from graftwork_flows.stopping import Stop
from graftwork_flows.sweep_graph import GOALS, write_graph
from graftwork_flows.tasks import run_stages


@flow(
    name="sweep",
    flow_run_name=lambda: run_name("sweep"),
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]  # Prefect's stub wants a runner of None
    validate_parameters=True,
)
def sweep(
    workspace: str = ".",
    recompute: bool = False,
    wait_seconds: Annotated[float, Field(ge=0)] = 0,
    runner: str = "",
) -> State[Any]:
    """Try every source, strategy, label budget and seed that params.yaml names under `sweep`.

    Args:
        workspace: Folder with params.yaml and dvc.yaml, as the worker sees it.
        recompute: Run every stage, changed or not; cells that were trained before stay.
        wait_seconds: How long to wait for another run in this workspace to end.
        runner: Where cells are trained: threads (here), dask:tcp://host:8786, ray:ray://host:10001, pool:stage/away.
    """
    root = Path(workspace).resolve()

    def work(stop: Stop) -> State[Any]:
        where = Runner.named(runner)
        write_graph(root)
        return run_stages(root, stop, recompute, wait_seconds, artifacts.publish_sweep, GOALS, runner=where)

    return as_flow(root, work)
