"""What Prefect and DVC add to the stages' own time, and what a start costs.

Measured in a workspace of its own with little to compute, its own server running.
"""

from __future__ import annotations

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import Row, spread

SMALL = {"  epochs: 5\n": "  epochs: 1\n", "  epochs: 30\n": "  epochs: 2\n", "[0, 1, 2, 3, 4]": "[0, 1]"}
IMPORTS = (
    "import torch; from graftwork.torchvision_operators import define_missing; define_missing(); "
    "import timm, prefect, dvc.repo, prefect.artifacts, graftwork_flows.transfer"
)


def orchestration_rows(rounds: int = 2) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "workspace"
        _call(Path(folder), "graftwork", "init", str(root))
        text = (root / "params.yaml").read_text()
        for old, new in SMALL.items():
            assert old in text
            text = text.replace(old, new)
        (root / "params.yaml").write_text(text)
        _call(root, "graftwork", "server", "start")
        try:
            return [*_added(root, rounds), *_cached(root, rounds)]
        finally:
            _call(root, "graftwork", "server", "stop")


def _added(root: Path, rounds: int) -> list[Row]:
    """Compare a flow run that computes everything with the stage functions called alone, in one process each."""
    code = (
        "import time, pathlib\nfrom graftwork.workspace import open_workspace, run_stage\n"
        "from graftwork_flows.pipeline import Pipeline\n"
        "root = pathlib.Path('.').resolve()\ncontext = open_workspace(root)\n"
        "nodes = [node.own for node in Pipeline(root).nodes()]\n"
        "import graftwork.rehearsal; graftwork.rehearsal.rehearse(context.settings, context.registry)\n"
        "started = time.perf_counter()\nfor name, item in nodes: run_stage(context, name, item)\n"
        "print('seconds', time.perf_counter() - started, len(nodes))"
    )
    added = []
    for _ in range(rounds):
        alone = re.search(r"seconds (\S+) (\d+)", _call(root, sys.executable, "-c", code))
        assert alone is not None
        said = _call(root, "graftwork", "run", "--recompute")
        whole = float(re.search(r"took ([\d.]+) s", said)[1])  # type: ignore[index]
        added.append((whole - _seconds(root, sys.executable, "-c", IMPORTS) - float(alone[1])) / int(alone[2]))
    return [Row("a stage: flow run − stages alone − imports, s", "≤ 1", *spread(added), statistics.median(added) <= 1)]


def _cached(root: Path, rounds: int) -> list[Row]:
    flow, alone, dvc = [], [], []
    for _ in range(rounds):
        flow.append(_seconds(root, "graftwork", "run"))
        alone.append(_seconds(root, "graftwork", "run", "--without-prefect"))
        dvc.append(_seconds(root, "dvc", "repro"))
    return [
        Row("all cached: graftwork run, s", "< 5", *spread(flow), statistics.median(flow) < 5),
        Row("all cached: graftwork run --without-prefect, s", "–", *spread(alone)),
        Row("all cached: dvc repro, s", "< 5", *spread(dvc), statistics.median(dvc) < 5),
    ]


def startup_rows(rounds: int = 7) -> list[Row]:
    """Measure CPU seconds, not seconds: a busy machine doesn't change them much."""
    rows = []
    _call(Path.cwd(), "graftwork", "plugins")  # the first listing imports every plugin; it is kept for the next
    for command, aim in (("--help", 0.3), ("plugins", 0.3)):
        used = [_cpu_seconds("graftwork", command) for _ in range(rounds)]
        rows.append(Row(f"graftwork {command}, CPU s", f"< {aim}", *spread(used), statistics.median(used) < aim))
    return rows


def _cpu_seconds(*command: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _call(Path.cwd(), *command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _seconds(folder: Path, *command: str) -> float:
    started = time.perf_counter()
    _call(folder, *command)
    return time.perf_counter() - started


def _call(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return done.stdout
