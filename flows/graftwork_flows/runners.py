"""Where a run's trainings are computed: here, or as `runner` says on workers of Dask, of Ray or of a work pool.

What is worth it goes out: stages that train. All others, and DVC's records, stay with the run.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol

from graftwork.cores import usable_cores
from graftwork.errors import GraftworkError, SettingsError, StateError, TrainingError
from graftwork.progress import Progress
from graftwork_flows.orders import Done, Order, keep, order
from graftwork_flows.pipeline import Node
from graftwork_flows.runs import Run

RUNNER = "GRAFTWORK_RUNNER"  # in the environment: what a run takes that names none
POLL_SECONDS = 0.5
POOL_POLL_SECONDS = 2.0  # each look is a request
AT_ONCE = 64  # stages away; each waits in a thread here


class Carrier(Protocol):
    """Brings an order to a worker."""

    def carry(self, order: Order, progress: Progress) -> dict[str, Any]:
        """Wait for what comes of it. Raises GraftworkError; Interrupted as soon as `progress` does."""


@dataclass(frozen=True)
class Runner:
    """`threads`, `dask[:ADDRESS|:WORKERS]`, `ray[:ADDRESS]` or `pool:FLOW/DEPLOYMENT`."""

    kind: str = "threads"
    place: str = ""

    @classmethod
    def named(cls, text: str) -> Runner:
        """Read it, or what GRAFTWORK_RUNNER says where it is empty. Raises SettingsError."""
        text = text or os.environ.get(RUNNER, "threads")
        kind, _, place = text.partition(":")
        if kind not in ("threads", "dask", "ray", "pool") or (kind == "threads" and place) or (text == "pool"):
            raise SettingsError(
                f"There is no runner {text!r}", where=f"--runner, the parameter runner, or {RUNNER}",
                expected="threads, dask, dask:tcp://host:8786, dask:4, ray, ray:ray://host:10001, pool:stage/away",
                fix="docs/scaling.md has an example of each",
            )  # fmt: skip
        return cls(kind, place)

    @property
    def near(self) -> bool:
        """Whether its workers are started here, for this run alone."""
        return self.kind in ("dask", "ray") and (not self.place or self.place.isdigit())

    def check(self) -> None:
        """Raise SettingsError where what it needs isn't installed."""
        if self.kind in ("dask", "ray"):
            self._class()

    def _class(self) -> Any:
        try:
            if self.kind == "dask":
                from prefect_dask import DaskTaskRunner as Found
            else:
                from prefect_ray import RayTaskRunner as Found
        except ImportError as error:
            raise SettingsError(
                f"The runner {self.kind} isn't installed: {error}", fix=f"pip install 'graftwork[{self.kind}]'"
            ) from None
        return Found

    def require_prefect(self) -> None:
        """Raise SettingsError, as there is no Prefect, for a runner that works through it."""
        if self.kind != "threads":
            raise SettingsError(
                f"The runner {self.kind} works through Prefect, which this run goes without",
                fix="leave --without-prefect out; graftwork server start tells why there is no server",
            )  # fmt: skip

    def task_runner(self) -> Any:
        """Return Prefect's task runner of Dask or Ray: of a cluster that is there, or of one on this machine."""
        found = self._class()
        if self.kind == "ray":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            return found(address=self.place) if self.place else found(init_kwargs={"include_dashboard": False})
        if self.place and not self.place.isdigit():
            return found(address=self.place)
        workers = int(self.place or usable_cores())
        return found(cluster_kwargs={"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None})


@contextmanager
def going_out(runner: Runner, run: Run) -> Iterator[None]:
    """Let what trains in a run go out to a runner's workers while the block lasts."""
    if runner.kind == "threads":
        yield
        return
    if not runner.near and run.pipeline.default_remote()[0]:
        run.pipeline.remote()  # which raises what is wrong with it, before anything goes out
    with _carrier(runner) as carrier:
        run.away = lambda node, progress: _send_out(run, node, progress, carrier, near=runner.near)
        try:
            yield
        finally:
            run.away = None


def _send_out(run: Run, node: Node, progress: Progress, carrier: Carrier, *, near: bool) -> None:
    """Compute a stage elsewhere: its inputs go to the remote, its order to a worker, its outputs come back by hash."""
    made, inputs = order(run.root, run.pipeline, node, force=run.force, near=near, asked_by=run.asked_by)
    run.pipeline.send(inputs)
    found = Done(**carrier.carry(made, progress))
    run.pipeline.accept(node, found.entry)
    keep(run.root, found)


@contextmanager
def _carrier(runner: Runner) -> Iterator[Carrier]:
    if runner.kind == "pool":
        yield _ByPool(runner.place)
        return
    try:
        started = runner.task_runner()
        entered = started.__enter__()
        getattr(entered, "client", None)  # Dask's, which is made when first asked for: once, not by each thread
    except (OSError, TimeoutError, ValueError) as error:
        raise StateError(
            f"The runner {runner.kind} can't be reached: {error}", where=runner.place or "this machine",
            fix="start its scheduler and workers, or correct the address",
        ) from error  # fmt: skip
    try:
        yield _ByTasks(entered)
    finally:
        started.__exit__(None, None, None)


@dataclass(frozen=True)
class _ByTasks:
    """Orders as Prefect tasks of a runner, of the flow run itself: a stage's own task can't be sent anywhere."""

    runner: Any
    flow_run: Context = field(default_factory=copy_context)

    def carry(self, order: Order, progress: Progress) -> dict[str, Any]:
        """Submit a task, and wait for it."""
        from graftwork_flows.away import stage_task

        parameters = {"stage": order.stage, "order": order.as_json()}
        future = self.flow_run.copy().run(self.runner.submit, stage_task, parameters)
        while True:
            progress.check()
            try:
                found: dict[str, Any] = future.result(timeout=POLL_SECONDS)
                return found
            except TimeoutError:
                continue
            except GraftworkError:
                raise
            except Exception as error:
                raise TrainingError(
                    f"The worker failed: {type(error).__name__}: {error}", where=order.stage,
                    expected="a worker that lives until its stage is done",
                    fix="its log says more; the next run goes on with what is missing",
                ) from error  # fmt: skip


@dataclass(frozen=True)
class _ByPool:
    """Orders as flow runs of a deployment, whose work pool has workers somewhere."""

    deployment: str

    def carry(self, order: Order, progress: Progress) -> dict[str, Any]:
        """Create a flow run, and wait for it."""
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound

        with get_client(sync_client=True) as client:
            try:
                deployment = client.read_deployment_by_name(self.deployment)
            except (ObjectNotFound, ValueError):
                raise StateError(
                    f"There is no deployment {self.deployment!r}", expected="the flow `stage`, deployed to a work pool",
                    fix="prefect deploy graftwork_flows.away:stage --name away --pool stages; see docs/scaling.md",
                ) from None  # fmt: skip
            parameters = {"stage": order.stage, "order": order.as_json()}
            run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, name=order.stage)
            try:
                return _message(order.stage, _final(client, run.id, progress))
            except BaseException:
                _cancel(client, run.id)
                raise


def _final(client: Any, run: Any, progress: Progress) -> Any:
    """Wait for a flow run's last state; a server that is away for a while is waited for, too."""
    from httpx import HTTPError

    while True:
        with suppress(HTTPError):
            state = client.read_flow_run(run).state
            if state is not None and state.is_final():
                return state
        until = time.monotonic() + POOL_POLL_SECONDS
        while time.monotonic() < until:
            progress.check()
            time.sleep(0.1)


def _message(stage: str, state: Any) -> dict[str, Any]:
    """Return what the last state of a stage's flow run tells. Raises TrainingError for one that failed."""
    try:
        told = json.loads(state.message or "")
    except ValueError:
        told = {"what": f"The flow run of the stage ended {state.name}: {state.message}", "where": stage}
    if state.is_completed():
        found: dict[str, Any] = told
        return found
    raise TrainingError(told.pop("what"), **told)


def _cancel(client: Any, run: Any) -> None:
    from prefect.states import Cancelling

    state = client.read_flow_run(run).state
    if state is None or not state.is_final():
        client.set_flow_run_state(run, Cancelling(), force=True)
