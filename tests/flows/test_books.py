"""A run with new results is entered into MLflow and DVCLive where `log` says so, and into nothing otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.results import Results, results_of
from graftwork_flows.books import enter
from tests.flows.conftest import call, edit, environment, run

FIND = """
import warnings
warnings.simplefilter("ignore")
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from mlflow import MlflowClient
client = MlflowClient(f"sqlite:///{Path('mlruns/mlflow.db').absolute()}")
(run,) = client.search_runs([client.get_experiment_by_name("graftwork").experiment_id])
print(run.data.params["finetune.lr"], run.data.metrics["full_copy.accuracy.mean"], run.data.tags["chosen"])
print(len(client.get_metric_history(run.info.run_id, "full_copy.seed_0.validation_accuracy")))
print(sorted(file.path for file in client.list_artifacts(run.info.run_id)))
"""


def test_results_are_what_the_report_says(computed: Path) -> None:
    found = results_of(load_settings(computed / "params.yaml"), Layout(computed), "a run")
    told = read_json(Layout(computed).report / "metrics.json")
    assert found.settings["finetune.lr"] == 0.01 and found.settings["seeds"] == "[0, 1]"
    assert not [key for key in found.settings if key.startswith(("remote", "log", "sweep"))]
    full_copy = told["strategies"]["full_copy"]
    assert found.figures["full_copy.accuracy.mean"] == full_copy["accuracy"]["mean"]
    assert found.figures["full_copy.gain.low"] == full_copy["gain"]["low"]
    assert [found.figures[f"full_copy.accuracy.seed_{seed}"] for seed in (0, 1)] == full_copy["accuracy"]["per_seed"]
    assert "scratch.gain.mean" not in found.figures
    assert {(point.strategy, point.seed) for point in found.curves} >= {("full_copy", 0), ("scratch", 1)}


def test_a_run_is_entered_once_and_hangs_on_nothing(computed: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("dvclive")
    lock, graph = (computed / "dvc.lock").read_bytes(), (computed / "dvc.yaml").read_bytes()
    edit(computed / "params.yaml", "seed: 0\n", "seed: 0\nlog: [mlflow, dvclive]\n")
    call(computed, "graftwork", "run", "--without-prefect")
    assert (computed / "dvc.lock").read_bytes() == lock and not (computed / "mlruns").exists(), "nothing is new"
    edit(computed / "params.yaml", "evidence: {confidence: 0.95", "evidence: {confidence: 0.9")
    said = call(computed, "graftwork", "run", "--without-prefect")
    assert "entered into mlflow" in said and "entered into dvclive" in said
    found = subprocess.run(
        [sys.executable, "-c", FIND], cwd=computed, env=environment(), capture_output=True, text=True, check=True
    ).stdout.splitlines()
    told = read_json(Layout(computed).report / "metrics.json")
    assert found[0] == f"0.01 {told['strategies']['full_copy']['accuracy']['mean']} {told['chosen']}"
    assert int(found[1]) == 2 and "report.html" in found[2]
    live = read_json(computed / "dvclive" / "metrics.json")
    assert live["full_copy"]["accuracy"]["mean"] == told["strategies"]["full_copy"]["accuracy"]["mean"]
    assert (computed / "dvc.yaml").read_bytes() == graph and call(computed, "dvc", "exp", "list") == ""
    assert "up to date" in call(computed, "dvc", "status")


def test_a_run_that_worked_in_a_worktree_is_entered_at_home(computed: Path, tmp_path: Path) -> None:
    found: list[Results] = []
    settings = load_settings(computed / "params.yaml", overrides=["log=[mlflow]"])
    registry = SimpleNamespace(create=lambda kind, use: SimpleNamespace(log=found.append))
    context: Any = SimpleNamespace(settings=settings, layout=Layout(computed), registry=registry)
    enter(context, "a run", tmp_path, print)
    assert [one.root for one in found] == [tmp_path]
    told: list[str] = []
    context.layout = Layout(tmp_path)  # where no report is
    enter(context, "a run", tmp_path, told.append)
    assert len(told) == 1 and told[0].startswith("warning: the run wasn't entered into mlflow")


def test_a_book_that_fails_is_a_warning(computed: Path) -> None:
    pytest.importorskip("mlflow")
    (computed / "strategies" / "own_log.py").write_text(
        "from dataclasses import dataclass\nfrom graftwork.hookspecs import hookimpl\n\n\n"
        "@dataclass(frozen=True)\nclass Broken:\n    def log(self, results):\n        raise OSError('on purpose')\n\n\n"
        "@hookimpl\ndef register_plugins(register):\n    register.log('broken', Broken)\n"
    )
    edit(
        computed / "params.yaml",
        "seed: 0\n",
        "seed: 0\nlog: [broken, {mlflow: {tracking_uri: 'http://127.0.0.1:9'}}]\n",
    )
    edit(computed / "params.yaml", "evidence: {confidence: 0.95", "evidence: {confidence: 0.9")
    environ = {**environment(), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = subprocess.run(
        ["graftwork", "run", "--without-prefect", "--quiet"], cwd=computed, env=environ,
        capture_output=True, text=True, check=False, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "warning: the run wasn't entered into broken: on purpose" in done.stderr
    assert "warning: the run wasn't entered into mlflow" in done.stderr and "Traceback" not in done.stderr


def test_an_unknown_book_is_told_before_anything_runs(computed: Path) -> None:
    edit(computed / "params.yaml", "seed: 0\n", "seed: 0\nlog: [mlfow]\n")
    done = run(computed, "graftwork", "run", "--without-prefect")
    assert done.returncode == 2 and "Did you mean mlflow?" in done.stderr
