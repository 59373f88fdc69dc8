"""Run a stage in this process, or, where params.yaml asks for it, let several processes share its trainings."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

from graftwork.stages import SHARED, Context
from graftwork.team import HERE, LOST, SIZE, join_team, processes_here
from graftwork.workspace import open_workspace, run_stage
from graftwork_flows.children import die_with_parent, run_together
from graftwork_flows.console import LineProgress, asked_by_dvc
from graftwork_flows.stopping import Stop, stop_on_signals

ASKED_BY = "GRAFTWORK_ASKED_BY"  # what a stage's processes were started for, for the records of who computed what


def run_stage_command(root: Path, name: str, item: str) -> None:
    """Do what `graftwork stage` does: the whole stage, or, under `torchrun`, this process's share of it.

    What isn't training is done by the first process alone. Raises GraftworkError.
    """
    die_with_parent()
    stop = Stop()
    with stop_on_signals(stop):
        label = f"{name}@{item}" if item else name
        asked_by = os.environ.get(ASKED_BY) or asked_by_dvc()
        context = replace(open_workspace(root, progress=LineProgress(label, stop)), asked_by=asked_by)
        if processes_here() == 1:
            run_or_share(context, name, item)
            return
        team = join_team(context.settings.engine.device)
        progress = LineProgress(label, stop, quiet=not team.leads)
        if team.leads or name in SHARED:
            run_stage(replace(context, team=team, progress=progress), name, item)


def run_or_share(context: Context, name: str, item: str) -> None:
    """Run a stage here, or in `engine.processes` processes on this machine. Raises GraftworkError."""
    processes = context.settings.engine.processes
    if processes == 1 or name not in SHARED:
        run_stage(context, name, item)
        return
    context.compute(lambda: _share(context, processes, name, item))


def _share(context: Context, processes: int, name: str, item: str) -> None:
    """Start the processes as torchrun would, and end them as one. Raises TrainingError when one of them dies."""
    members = {f"process {rank + 1} of {processes}": rank for rank in range(processes)}
    place = {SIZE: str(processes), HERE: str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    place[ASKED_BY] = context.asked_by
    environments = {who: {**place, "RANK": str(rank), "LOCAL_RANK": str(rank)} for who, rank in members.items()}
    root = context.layout.root.resolve()
    command = ["stage", name, *([item] if item else []), "-C", str(root)]
    run_together(dict.fromkeys(members, command), environments, root, context.progress, consequence=LOST)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
