"""Carry out an order in a folder of this machine's own: fetch the inputs, run the stage, deliver what it made."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from graftwork.cache_folder import cache_folder
from graftwork.errors import StateError
from graftwork.files import make_folder, write_json
from graftwork.layout import Layout
from graftwork.progress import Progress
from graftwork.workspace import open_workspace, sweep_leftovers
from graftwork_flows.children import die_with_parent
from graftwork_flows.console import LineProgress
from graftwork_flows.orders import Done, Order, done, known, unpack
from graftwork_flows.parcels import set_up
from graftwork_flows.pipeline import Pipeline
from graftwork_flows.run_lock import run_lock
from graftwork_flows.stopping import Stop, stop_on_signals
from graftwork_flows.teams import run_or_share

WORKSPACE = "GRAFTWORK_WORKSPACE"  # a worker's own clone, or any folder: where it works, and finds DVC's credentials
MOST_WORKERS = 64  # of one machine in folders beside each other


def carry_out_command(order_file: Path, result_file: Path) -> None:
    """Carry out the order in a file, and write what came of it into another. Raises GraftworkError."""
    die_with_parent()
    order = Order(**json.loads(order_file.read_text(encoding="utf-8")))
    stop = Stop()
    with stop_on_signals(stop):
        found = carry_out(order, home(), LineProgress(order.stage, stop))
    write_json(result_file, asdict(found))


def home() -> Path:
    """Return where this worker keeps folders: its clone's private one, or the user's cache."""
    own = os.environ.get(WORKSPACE)
    return Layout(Path(own).resolve()).away if own else cache_folder() / "away"


def carry_out(order: Order, base: Path, progress: Progress) -> Done:
    """Run a stage as the workspace that the order came from would, and deliver it. Raises GraftworkError."""
    order.check_versions()
    if not order.shares_disk and not order.remote:
        raise StateError(
            "This worker doesn't share the disk of the run, and there is no DVC remote to exchange results by",
            where=order.stage, expected="a default remote that all machines reach",
            fix="dvc remote add -d store s3://bucket/folder",
        )  # fmt: skip
    with _own_folder(base, order.project) as root, chdir(root):  # DVC's run cache takes the current folder
        _prepare(order, root)
        before = known(root)
        pipeline = Pipeline(root)
        node = next(n for n in pipeline.nodes((order.stage.partition("@")[0],)) if n.name == order.stage)
        assert node.own is not None
        name, item = node.own
        progress.log("fetching its inputs")
        pipeline.receive(root / path for path in order.inputs)

        def compute() -> None:
            run_or_share(replace(open_workspace(root, progress=progress), asked_by=order.asked_by), name, item)

        outcome = pipeline.run(node, compute, force=order.force)
        return done(root, node, outcome, pipeline.send_outputs(node), before)


@contextmanager
def _own_folder(base: Path, project: str) -> Iterator[Path]:
    """Yield the project's folder here, or, where another worker is at it, the next one's."""
    for number in range(1, MOST_WORKERS + 1):
        folder = base / (project if number == 1 else f"{project}-{number}")
        lock = run_lock(Layout(folder).private, "a stage for a run elsewhere")
        try:
            lock.__enter__()
        except StateError:
            if number == MOST_WORKERS:
                raise
            continue
        try:
            yield folder
        finally:
            lock.__exit__(None, None, None)
        return


def _prepare(order: Order, root: Path) -> None:
    """Make the folder a workspace as the order has it, with the cache that is nearest."""
    own = os.environ.get(WORKSPACE)
    clone = Path(own).resolve() / ".dvc" if own else root / ".dvc" / "none"
    cache = Path(order.cache) if order.shares_disk else clone / "cache" if clone.is_dir() else None
    if cache:
        make_folder(cache)
    set_up(root, order.remote, order.remote_settings, cache, clone / "config.local")
    sweep_leftovers(Layout(root))
    unpack(order, root)
