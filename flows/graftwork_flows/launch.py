"""Start a run from the command line: Prefect's server first, then the flow; or neither."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import chdir, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graftwork.errors import GraftworkError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.secrets import without_secrets
from graftwork.stages import Context
from graftwork.workspace import check_paths, open_workspace
from graftwork_flows.console import LineProgress, say, teller
from graftwork_flows.flow_runs import connect, run_flow
from graftwork_flows.kept import kept
from graftwork_flows.overrides import as_overrides
from graftwork_flows.run_log import run_log

if TYPE_CHECKING:
    from graftwork_flows.runners import Runner
    from graftwork_flows.runs import Run


def run_pipeline(
    root: Path,
    overrides: Sequence[str],
    strategies: Sequence[str],
    *,
    recompute: bool,
    without_prefect: bool,
    wait_seconds: float,
    quiet: bool,
    runner: str = "",
) -> None:
    """Run the pipeline and print the verdict. Raises GraftworkError."""
    changes = as_overrides(root, strategies, 0, 0, 0, overrides)
    where = _runner(runner)
    _check_first(root, changes)
    parameters: dict[str, Any] = {
        "workspace": str(root), "strategies": list(strategies), "overrides": list(overrides),
        "recompute": recompute, "wait_seconds": wait_seconds, "runner": runner,
    }  # fmt: skip

    def alone(anew: bool) -> None:
        _run_alone(root, changes, anew, wait_seconds, quiet)

    goals = None if changes or recompute or runner else ()
    _run(root, "transfer", parameters, alone, goals, where, without_prefect=without_prefect, quiet=quiet)


def _runner(text: str) -> Runner:
    """Return the runner that was named, if it is installed. Raises SettingsError."""
    from graftwork_flows.runners import Runner

    found = Runner.named(text)
    found.check()
    return found


def _check_first(root: Path, changes: Sequence[str]) -> None:
    """Raise what is wrong before a server is started for nothing; settings that passed once pass without plugins."""

    def check() -> dict[str, Any]:
        context = open_workspace(root, changes)
        check_paths(context, pulls=context.settings.remote.pull)
        return {"failures": []}

    if changes:
        check()
    else:
        kept(root, "checked", check)


def run_sweep(
    root: Path, *, recompute: bool, without_prefect: bool, wait_seconds: float, quiet: bool, runner: str = ""
) -> None:  # fmt: skip
    """Run the sweep and print what it found. Raises GraftworkError."""
    from graftwork_flows.sweep_graph import GOALS, write_graph

    where = _runner(runner)
    _check_first(root, ())
    write_graph(root)
    parameters = {"workspace": str(root), "recompute": recompute, "wait_seconds": wait_seconds, "runner": runner}

    def alone(anew: bool) -> None:
        bring_up_to_date(root, GOALS, recompute=anew, wait_seconds=wait_seconds, quiet=quiet)
        say("\n".join(read_json(Layout(root).sweep / "metrics.json")["verdict"]))

    goals = None if recompute or runner else GOALS
    _run(root, "sweep", parameters, alone, goals, where, without_prefect=without_prefect, quiet=quiet)
    if not quiet:
        say(f"report: {Layout(root).sweep / 'report.html'}")


def run_check(root: Path, *, recompute: bool, without_prefect: bool, wait_seconds: float, quiet: bool) -> None:
    """Read and split the data, and print what is wrong with it. Raises GraftworkError."""
    from graftwork_flows.runners import Runner
    from graftwork_flows.runs import CHECKED

    _check_first(root, ())
    parameters = {"workspace": str(root), "recompute": recompute, "wait_seconds": wait_seconds}

    def alone(anew: bool) -> None:
        bring_up_to_date(root, CHECKED, recompute=anew, wait_seconds=wait_seconds, quiet=quiet, tell=tell)

    def tell(run: Run) -> None:
        from graftwork_flows.data_checking import check_of

        found = check_of(run)
        say("\n".join([*([] if quiet else found.lines()), found.verdict()]))

    goals = None if recompute else CHECKED
    _run(root, "check", parameters, alone, goals, Runner(), without_prefect=without_prefect, quiet=quiet)


def bring_up_to_date(
    root: Path, goals: Collection[str], *, recompute: bool = False, wait_seconds: float = 0.0, quiet: bool = False,
    tell: Callable[[Run], None] | None = None, home: Path | None = None,
) -> None:  # fmt: skip
    """Run stages, and what they hang on, without Prefect; a failure skips what hangs on it, and is raised.

    `tell` says what came of them, also where some failed; `home` is as in `begin`.
    """
    from graftwork_flows.runs import begin

    with begin(root, goals=goals, force=recompute, wait_seconds=wait_seconds, tell=teller(quiet), home=home) as run:
        _run_to_the_end(run, quiet, tell)
    run.require_done()


def _run_to_the_end(run: Run, quiet: bool, tell: Callable[[Run], None] | None = None) -> None:
    """Run every stage without Prefect; raise Interrupted where it was stopped."""
    from graftwork_flows.runs import run_plainly

    run_plainly(run, lambda stage: LineProgress(stage, run.stop, quiet))
    run.stop.check()
    if tell is not None:
        tell(run)


def measure_anew(root: Path, *, wait_seconds: float, quiet: bool) -> None:
    """Forget what was chosen to train on, choose by measuring, and record it for DVC. Raises GraftworkError."""
    from graftwork_flows.runs import begin

    with begin(
        root, goals=("measure",), wait_seconds=wait_seconds, what="graftwork measure", tell=teller(quiet)
    ) as run:
        run.computing.submit(_forget, run.context).result()
        run.pipeline.look_again()
        _run_to_the_end(run, quiet)
    run.require_done()


def _forget(context: Context) -> None:
    from graftwork.stages.measure import forget_choice

    for name in context.settings.data:
        forget_choice(context, name)


def _run(
    root: Path, flow: str, parameters: dict[str, Any], alone: Callable[[bool], None], goals: Collection[str] | None,
    where: Runner, *, without_prefect: bool, quiet: bool,
) -> None:  # fmt: skip
    """Run a flow, after its server is up; or, where that isn't wanted, needed or possible, `alone`.

    That is told whether to compute everything anew. `goals` are those of `settled`; None: there is something to do in
    any case.
    """
    started = time.monotonic()
    with run_log(Layout(root), f"graftwork {'run' if flow == 'transfer' else flow}"):
        idle = not without_prefect and goals is not None and settled(root, goals)
        ui = "" if without_prefect or idle else connect(root, quiet)
        api = "" if idle else os.environ.get("PREFECT_API_URL", "")
        if not (ui or api):
            if not idle:
                where.require_prefect()
            alone(parameters["recompute"])
        elif not run_flow(root, flow, parameters, quiet):
            shown = without_secrets(api)
            say(f"warning: the Prefect server at {shown} is gone: its record of this run stays open until the next one")
            alone(False)  # what was computed is recorded, and isn't computed again
        if not quiet:
            say(f"UI: {ui}" if ui else f"UI: none, {'as there was nothing to do' if idle else 'run without Prefect'}")
            say(f"took {time.monotonic() - started:.1f} s")


def settled(root: Path, goals: Collection[str]) -> bool:
    """Tell whether every stage is as it is recorded: no server is started, and no flow run made, for nothing."""
    from graftwork_flows.pipeline import Pipeline

    with suppress(GraftworkError), chdir(root):
        pipeline = Pipeline(root)
        return not pipeline.changed(pipeline.nodes(goals))
    return False


def _run_alone(root: Path, changes: Sequence[str], recompute: bool, wait: float, quiet: bool) -> None:
    from graftwork_flows.sandbox import sandbox

    name = time.strftime("run-%Y%m%d-%H%M%S")

    def run_in(folder: Path) -> None:
        def tell(run: Run) -> None:
            _tell_partial(run, Layout(root).kept_report(name))

        bring_up_to_date(folder, (), recompute=recompute, wait_seconds=wait, quiet=quiet, tell=tell, home=root)
        say(read_json(Layout(folder).report / "metrics.json")["verdict"])

    if not changes:
        run_in(root)
        say(f"report: {Layout(root).report / 'report.html'}")
        return
    with sandbox(root, changes, name) as box:
        run_in(box.root)
        say(f"report: {box.keep()}")


def _tell_partial(run: Run, page: Path) -> None:
    """Report on the strategies that are there, where others failed."""
    from graftwork_flows.partial import missing_strategies, report_without

    missing = missing_strategies(run)
    if not missing:
        return
    try:
        report_without(run, missing, page, LineProgress("partial report", run.stop))
    except GraftworkError as error:
        say(f"warning: {error}")
    else:
        say(f"report without {', '.join(missing)}: {page}")
