"""A run of the whole pipeline in one workspace, whoever drives it: the Prefect flow, or a plain loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import chdir, contextmanager, nullcontext
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from graftwork.errors import GraftworkError
from graftwork.faults import as_told
from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.progress import Progress
from graftwork.stages import SHARED, Context
from graftwork.workspace import PARAMS, check_before_run, check_paths, open_workspace
from graftwork_flows.books import enter
from graftwork_flows.console import say
from graftwork_flows.leftovers import recovered, remove_former
from graftwork_flows.pipeline import Node, Outcome, Pipeline
from graftwork_flows.remote import pull_before, push_after
from graftwork_flows.run_lock import run_lock
from graftwork_flows.run_log import log, run_log
from graftwork_flows.stopping import Stop, stop_at_once, stop_on_signals
from graftwork_flows.sweep_graph import remove_orphan
from graftwork_flows.teams import run_or_share

CHECKED = ("augment",)  # the goals of a check of the data, for which nothing is trained


@dataclass
class Run:
    """A workspace and its stage graph; made by `begin`."""

    root: Path
    pipeline: Pipeline
    nodes: list[Node]
    stop: Stop
    computing: Executor
    force: bool = False
    asked_by: str = "graftwork run"
    failures: dict[str, GraftworkError] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    away: Callable[[Node, Progress], None] | None = None  # computes what trains elsewhere, where a runner was named

    @cached_property
    def context(self) -> Context:
        """The opened workspace. It needs torch and every plugin: a run that finds nothing to do never asks for it."""
        return open_workspace(self.root)

    def stage(self, node: Node, progress: Progress) -> Outcome:
        """Bring one stage up to date. Raises GraftworkError, and remembers it in `failures`."""
        began = time.monotonic()
        try:
            self.stop.check()
            outcome = self.pipeline.run(node, lambda: self._compute(node, progress), force=self.force)
            self.outcomes[node.name] = outcome
            log.debug("%s: %s in %.2f s", node.name, outcome, time.monotonic() - began)
            return outcome
        except GraftworkError as error:
            log.debug("%s failed", node.name, exc_info=error)
            self.failures[node.name] = error
            raise
        except Exception as error:
            log.debug("%s failed", node.name, exc_info=error)
            failure = as_told(error, f"stage {node.name}")
            self.failures[node.name] = failure
            raise failure from error

    def require_done(self) -> None:
        """Raise the first failure, if there was one."""
        if self.failures:
            raise next(iter(self.failures.values()))

    def _compute(self, node: Node, progress: Progress) -> None:
        """Run core's function, which does torch's work on the computing thread; or have it run elsewhere."""
        assert node.own is not None
        if self.away is not None and node.own[0] in SHARED:
            self.away(node, progress)
            return
        compute = self._on_computing_thread
        run_or_share(replace(self.context, progress=progress, compute=compute, asked_by=self.asked_by), *node.own)

    def _on_computing_thread(self, work: Callable[[], Any]) -> Any:
        """Do work when its turn comes, in the caller's context variables (Prefect's run)."""

        def unless_stopped() -> Any:
            self.stop.check()
            return work()

        return self.computing.submit(copy_context().run, unless_stopped).result()


@contextmanager
def begin(
    root: Path, *, goals: Collection[str] = (), force: bool = False, wait_seconds: float = 0.0,
    what: str = "graftwork run", tell: Callable[[str], None] = say, stop: Stop | None = None, home: Path | None = None,
) -> Iterator[Run]:  # fmt: skip
    """Hold the workspace's lock, heed signals; open and check it if there is anything to do.

    `goals` are those of `Pipeline.nodes`. What the settings of plugins are checked against – versions, local files –
    is among what the stages depend on: where nothing has changed, they stand as they were checked. `tell` is told what
    was exchanged with a remote, where the settings want that. `stop` is that of a caller who heeds signals already;
    `home` the workspace of which `root` is a worktree, and in which the run is entered into books.
    """
    heeded, stop = stop is not None, stop or Stop()
    settings = load_settings(root / PARAMS)
    layout = Layout(root)
    with (
        run_log(layout, what),
        nullcontext() if heeded else stop_on_signals(stop),
        run_lock(layout.private, what, wait_seconds, stop.check) as former,
        chdir(root),  # DVC's run cache takes the current folder for the workspace
        _computing_thread() as computing,
    ):
        if settings.sweep is None:
            remove_orphan(root)
        if found := recovered(layout, former):
            tell(f"warning: {found}")
        pipeline = Pipeline(root, settings.remote.name)
        if settings.remote.used:
            pipeline.remote()
        pipeline.sweep()
        remove_former(layout, settings)
        nodes = pipeline.nodes(goals)
        run = Run(root, pipeline, nodes, stop, computing, force, asked_by=what)
        if _has_work(run, settings.remote.pull, tell):
            what_for = {"sweeping": "cells" in goals, "training": tuple(goals) != CHECKED}
            computing.submit(lambda: check_before_run(run.context, **what_for)).result()
        yield run
        if settings.log and run.outcomes.get("report", "unchanged") != "unchanged":
            enter(run.context, what, home or root, tell)
        if settings.remote.push and not stop.wanted:
            with stop_at_once(stop):
                push_after(pipeline, layout, tell)


def _has_work(run: Run, pulls: bool, tell: Callable[[str], None]) -> bool:
    """Tell whether there is anything to compute, or to restore, once what a remote has is here."""
    changed = run.force or _changed(run)
    if changed and pulls:
        with stop_at_once(run.stop):
            pull_before(run.pipeline, [] if run.force else run.nodes, tell)
        changed = run.force or _changed(run)
    return changed


def _changed(run: Run) -> bool:
    """Ask DVC whether anything changed; of a file whose name it can't record, it tells nothing, and we the name."""
    try:
        return run.pipeline.changed(run.nodes)
    except UnicodeEncodeError:
        check_paths(run.context)
        raise


def _computing_thread() -> Executor:
    """Return an executor of one thread, on which all of torch's work is done.

    One stage at a time, as each uses all cores and torch's global generator, and processes are forked only while
    nothing computes. And always the same thread: OpenMP keeps a team of threads for each thread that ever computed,
    and with more of them than cores it stops spinning between operations, which made small models train at half speed.
    """
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="computing")


def run_plainly(run: Run, progress: Callable[[str], Progress]) -> None:
    """Run every stage in order, without Prefect; a failure skips what hangs on it, and is raised at the end."""
    undone: set[str] = set()
    for node in run.nodes:
        if run.stop.wanted:
            break
        if not undone.isdisjoint(node.upstream):
            undone.add(node.name)
            continue
        reporter = progress(node.name)
        try:
            outcome = run.stage(node, reporter)
        except GraftworkError:
            undone.add(node.name)
            continue
        if outcome != "computed":
            reporter.log(f"{outcome}")
