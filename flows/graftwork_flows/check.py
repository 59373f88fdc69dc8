"""The Prefect flow of a data check: read and split every data set, train nothing, say what is wrong with it."""

# No `from __future__ import annotations` in this file: Prefect evaluates the annotations of a served flow.

from pathlib import Path
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.task_runners import ThreadPoolTaskRunner
from pydantic import Field

from graftwork.data_check import DataCheck
from graftwork.layout import Layout
from graftwork_flows import artifacts
from graftwork_flows.data_checking import check_of, checked
from graftwork_flows.flow_body import as_flow, run_name
from graftwork_flows.runs import CHECKED, Run
from graftwork_flows.tasks import run_stages


@flow(
    name="check",
    flow_run_name=lambda: run_name("check"),
    task_runner=ThreadPoolTaskRunner(max_workers=4),  # type: ignore[arg-type]  # Prefect's stub wants a runner of None
    validate_parameters=True,
)
def check(
    workspace: str = ".", recompute: bool = False, wait_seconds: Annotated[float, Field(ge=0)] = 0
) -> State[Any]:  # fmt: skip
    """Read and split every data set as a run does, and say what is wrong with it: nothing is trained.

    Args:
        workspace: Folder with params.yaml and dvc.yaml, as the worker sees it.
        recompute: Look at all data again, changed or not.
        wait_seconds: How long to wait for another run in this workspace to end.
    """
    root = Path(workspace).resolve()

    def publish(layout: Layout) -> str:
        return _publish(checked(layout))

    def undone(run: Run) -> str:
        return _publish(check_of(run)) + " "

    return as_flow(root, lambda stop: run_stages(root, stop, recompute, wait_seconds, publish, CHECKED, undone))


def _publish(found: DataCheck) -> str:
    for line in found.lines():
        get_run_logger().info(line)
    return artifacts.publish_check(found)
