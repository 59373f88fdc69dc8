"""Nothing is imported that isn't used: what each command and each stage leaves out, and what a listing is kept by."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graftwork_flows.kept import kept
from tests.flows.conftest import edit, environment

HEAVY = {"torch", "timm", "torchvision", "sklearn", "scipy", "matplotlib", "numpy", "pydantic", "prefect", "dvc"}
TELL = "\nimport json, sys\nprint(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
COMMAND = """
import sys
sys.argv = ["graftwork", *{arguments!r}]
from graftwork_flows.cli import main
try: main()
except SystemExit: pass
"""
STAGES = """
import json, sys
from pathlib import Path
from graftwork.workspace import open_workspace, run_stage
context = open_workspace(Path.cwd())
for stage in {stages!r}:
    run_stage(context, *stage)
"""
BEGIN = """
from pathlib import Path
from graftwork.progress import Quiet
from graftwork_flows.runs import begin, run_plainly
with begin(Path.cwd()) as run:
    run_plainly(run, lambda stage: Quiet())
    assert run.nodes and not run.failures
"""
ADDED = """
from dataclasses import dataclass
from graftwork.hookspecs import hookimpl

@dataclass(frozen=True)
class Added:
    '''Add nothing.'''
    @hookimpl
    def prepare_model(self, target):
        pass

@hookimpl
def register_plugins(register):
    register.strategy("added", Added)
"""


def heavy_after(code: str, folder: Path) -> set[str]:
    """Return the heavy packages that a fresh interpreter holds after this code."""
    done = subprocess.run(
        [sys.executable, "-c", code + TELL], cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    return HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_a_second_listing_of_the_plugins_imports_nothing_heavy_and_holds_until_a_plugin_is_added(
    workspace: Path,
) -> None:
    listing = COMMAND.format(arguments=["plugins"])
    assert "torch" in heavy_after(listing, workspace)
    assert heavy_after(listing, workspace) <= {"pydantic"}  # with which typer reads options
    (workspace / "strategies" / "added.py").write_text(ADDED)
    assert "torch" in heavy_after(listing, workspace)
    kept = json.loads((workspace / ".graftwork" / "plugins.json").read_text())["listing"]
    assert "Add nothing." in [plugin["summary"] for plugin in kept["plugins"]]


def test_a_run_that_finds_nothing_to_do_imports_no_torch(computed: Path) -> None:
    assert not heavy_after(BEGIN, computed) & {"torch", "timm", "sklearn", "scipy", "matplotlib", "prefect"}


def test_the_flow_imports_neither_torch_nor_what_draws(tmp_path: Path) -> None:
    assert not heavy_after("import graftwork_flows.transfer", tmp_path) & {"torch", "timm", "scipy", "matplotlib"}


def test_the_stages_of_data_import_no_models_and_no_engine_of_flows(computed: Path) -> None:
    stages = [("fetch", "target"), ("augment", "target")]
    assert heavy_after(STAGES.format(stages=stages), computed) <= {"torch", "numpy", "pydantic"}


def test_the_stages_of_training_import_nothing_that_draws(computed: Path) -> None:
    stages = [("pretrain", "source"), ("transfer", "full_copy"), ("finetune", "full_copy")]
    found = heavy_after(STAGES.format(stages=stages), computed)
    assert "timm" in found  # whose optimizers train any net
    assert not found & {"sklearn", "matplotlib", "prefect", "dvc"}


def test_the_report_imports_no_timm_for_a_plain_net(computed: Path) -> None:
    found = heavy_after(STAGES.format(stages=[("report", "")]), computed)
    assert not found & {"timm", "torchvision", "prefect", "dvc"}


def test_a_listing_is_made_again_when_a_file_that_it_was_made_from_changes(workspace: Path) -> None:
    made: list[int] = []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"plugins": [], "failures": {}}

    for _ in range(2):
        kept(workspace, "plugins", make)
    assert len(made) == 1
    edit(workspace / "params.yaml", "seed: 0", "seed: 17")
    kept(workspace, "plugins", make)
    assert len(made) == 2
    os.utime(workspace / ".graftwork" / "plugins.json", (0, 0))  # its own age decides nothing
    kept(workspace, "plugins", make)
    assert len(made) == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"state": 1}'])
def test_a_damaged_record_is_no_harm_and_failures_are_not_kept(damage: str, workspace: Path) -> None:
    (workspace / ".graftwork").mkdir(exist_ok=True)
    (workspace / ".graftwork" / "plugins.json").write_text(damage)
    listings = iter([{"plugins": [], "failures": {"x": "broken"}}, {"plugins": [], "failures": {}}])
    assert kept(workspace, "plugins", lambda: next(listings))["failures"] == {"x": "broken"}
    assert kept(workspace, "plugins", lambda: next(listings))["failures"] == {}
