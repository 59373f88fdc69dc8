"""The invariant between the flow's way and DVC's: one record, whoever computed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from graftwork.errors import StateError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.storage import load_split
from graftwork_flows.pipeline import Pipeline
from graftwork_flows.runs import begin, run_plainly
from tests.flows.conftest import call, commit, edit
from tests.flows.recorder import Recorder


def compute(workspace: Path) -> list[str]:
    """Run the pipeline in this process; return the stages that core computed."""
    recorder = Recorder()
    with begin(workspace) as run:
        recorder.watch(run)
        run_plainly(run, lambda stage: recorder)
        assert not run.failures, run.failures
    return recorder.computed


def test_a_second_run_computes_nothing_and_dvc_finds_nothing_to_do(workspace: Path) -> None:
    assert len(compute(workspace)) == 17
    lock = (workspace / "dvc.lock").read_bytes()
    assert compute(workspace) == []
    assert "up to date" in call(workspace, "dvc", "status")
    assert "Running stage" not in call(workspace, "dvc", "repro")
    assert (workspace / "dvc.lock").read_bytes() == lock


@pytest.mark.parametrize("seconds", [0, 2**31 + 1e6])
def test_a_clock_that_jumped_changes_nothing(seconds: float, computed: Path) -> None:
    for path in computed.rglob("*"):
        if path.is_file() and ".git" not in path.parts:
            os.utime(path, (seconds, seconds))
    assert compute(computed) == []
    assert "up to date" in call(computed, "dvc", "status")


def test_after_dvc_repro_a_run_computes_nothing_and_both_compute_the_same_bits(workspace: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(workspace, tmp_path / "other"))
    call(workspace, "dvc", "repro")
    theirs = (workspace / "dvc.lock").read_text().splitlines()
    assert compute(workspace) == []
    assert (workspace / "dvc.lock").read_text().splitlines() == theirs
    compute(other)
    ours = (other / "dvc.lock").read_text().splitlines()
    assert len(ours) == len(theirs)
    differing = [number for number, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1]]
    page = next(number for number, line in enumerate(ours) if "report/report.html" in line)
    assert set(differing) <= {page + 2, page + 3}, "only the report, which tells the seconds, may differ"


def test_a_changed_strategy_runs_alone_with_the_report_and_going_back_restores(computed: Path) -> None:
    lock = (computed / "dvc.lock").read_bytes()
    edit(computed / "params.yaml", "[full_copy, freeze]", "[full_copy, {freeze: {batch_norm: update}}]")
    assert compute(computed) == ["recommend", "transfer@freeze", "finetune@freeze", "report"]
    edit(computed / "params.yaml", "[full_copy, {freeze: {batch_norm: update}}]", "[full_copy, freeze]")
    assert compute(computed) == []
    assert (computed / "dvc.lock").read_bytes() == lock


def test_a_changed_setting_is_never_answered_with_stale_results(computed: Path) -> None:
    edit(computed / "params.yaml", "finetune: {epochs: 2", "finetune: {epochs: 1")
    computed = compute(computed)
    finetuned = {"finetune@scratch", "finetune@full_copy", "finetune@freeze"}
    measured = {"measure@source", "measure@target"}  # which look at how long a training is, and keep what was chosen
    assert finetuned | measured | {"recommend", "report"} == set(computed)


def test_a_new_strategy_is_one_line(computed: Path) -> None:
    edit(computed / "params.yaml", "  freeze:", "  pulled: [full_copy, {l2_sp: {alpha: 0.1}}]\n  freeze:")
    assert compute(computed) == ["recommend", "transfer@pulled", "finetune@pulled", "report"]


OWN = """
from dataclasses import dataclass
from graftwork.hookspecs import hookimpl

@dataclass(frozen=True)
class Own:
    @hookimpl
    def loss_terms(self, step):
        return 0.1 * step.logits.square().mean()

@hookimpl
def register_plugins(register):
    register.strategy("own", Own)
"""


def test_a_strategy_in_a_new_local_file_trains_nothing_else_and_trains_again_when_the_file_changes(
    computed: Path,
) -> None:
    file = computed / "strategies" / "own.py"
    file.write_text(OWN)
    edit(computed / "params.yaml", "  freeze:", "  mine: [full_copy, own]\n  freeze:")
    trains = ("pretrain", "finetune", "report")
    assert [name for name in compute(computed) if name.startswith(trains)] == ["finetune@mine", "report"]
    edit(file, "0.1", "0.2")
    assert [name for name in compute(computed) if name.startswith(trains)] == ["finetune@mine", "report"]
    assert "up to date" in call(computed, "dvc", "status")


def test_strategies_that_need_the_source_find_it_and_selection_is_told(computed: Path) -> None:
    edit(
        computed / "params.yaml",
        "  freeze: [full_copy, freeze]\n",
        "  freeze: [full_copy, freeze]\n  joint: [full_copy, {joint: {images: 30}}]\n  lwf: [full_copy, lwf]\n"
        "  adapted: [full_copy, lora]\n  wise: [full_copy, wise_ft]\n  features: [full_copy, feature_extract]\n",
    )
    names = ("joint", "lwf", "adapted", "wise", "features")
    trained = {f"{stage}@{name}" for stage in ("transfer", "finetune") for name in names}
    assert set(compute(computed)) == trained | {"recommend", "report"}
    layout = Layout(computed)
    assert len(load_split(layout.start("joint") / "source_images")) == 30
    assert (layout.start("lwf") / "source.safetensors").is_file()
    assert not (layout.start("lwf") / "source_images").exists()
    assert not (layout.start("full_copy") / "source.safetensors").exists()
    chosen = read_json(layout.tuned("wise") / "selection.json")
    assert all(0 <= found["alpha"] <= 1 and found["validation_accuracy"] > 0 for found in chosen.values())
    adapters = [t for t in read_json(layout.start("adapted") / "manifest.json")["tensors"] if t["why"] == "an adapter"]
    assert adapters and all(tensor["trainable"] for tensor in adapters)
    assert "up to date" in call(computed, "dvc", "status")


def test_a_removed_strategy_leaves_nothing_behind(computed: Path) -> None:
    edit(computed / "params.yaml", "  freeze: [full_copy, freeze]\n", "")
    assert compute(computed) == ["recommend", "report"]
    assert not Layout(computed).tuned("freeze").exists()
    assert "up to date" in call(computed, "dvc", "status")


def test_an_output_that_was_changed_by_hand_is_computed_anew(computed: Path) -> None:
    page = Layout(computed).report / "report.html"
    page.write_text("mine")
    assert compute(computed) == ["report"]
    assert "Transfer report" in page.read_text()


def test_a_strategy_that_chooses_is_found_by_trying_and_tells_why(computed: Path) -> None:
    edit(computed / "params.yaml", "  freeze:", "  best: [{auto: {trainings: 6, ledger: false}}]\n  freeze:")
    trained = [name for name in compute(computed) if not name.startswith("transfer")]
    assert trained == ["recommend", "finetune@best", "report"]
    layout = Layout(computed)
    chosen = read_json(layout.recommendation)["best"]
    assert chosen["stack"] == read_json(layout.start("best") / "manifest.json")["stack"]
    assert "How best was chosen" in (layout.report / "report.html").read_text()
    assert "up to date" in call(computed, "dvc", "status")
    assert compute(computed) == []


def test_settings_that_change_meanwhile_are_not_recorded(workspace: Path) -> None:
    pipeline = Pipeline(workspace)
    first = pipeline.nodes()[0]
    with pytest.raises(StateError, match=r"params\.yaml changed while the run was going on"):
        pipeline.run(first, lambda: edit(workspace / "params.yaml", "seed: 0", "seed: 1"))
    assert not (workspace / "dvc.lock").exists()


def test_a_stage_that_computes_is_busy_for_dvc(workspace: Path) -> None:
    pipeline = Pipeline(workspace)
    said: list[str] = []

    def compute_slowly() -> None:
        from tests.flows.conftest import run

        said.append(run(workspace, "dvc", "repro", "fetch@source").stderr)
        raise StateError("stop here")

    with pytest.raises(StateError, match="stop here"):
        pipeline.run(pipeline.nodes()[0], compute_slowly)
    assert "busy" in said[0]


def test_a_pushed_workspace_is_the_same_in_a_fresh_clone(computed: Path, tmp_path: Path) -> None:
    call(computed, "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    commit(computed)
    call(computed, "dvc", "push", "-q")
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "-q", str(computed), str(clone))
    call(clone, "dvc", "pull", "-q")
    assert compute(clone) == []
    assert "up to date" in call(clone, "dvc", "status")
    assert Layout(clone).report.joinpath("report.html").is_file()


def test_a_users_own_stage_runs_along(workspace: Path) -> None:
    with (workspace / "dvc.yaml").open("a") as file:
        file.write(
            "  mine:\n    cmd: cp report/metrics.json copy.json\n"
            "    deps: [report/metrics.json]\n    outs: [copy.json]\n"
        )
    compute(workspace)
    assert (workspace / "copy.json").is_file()
    assert compute(workspace) == []
