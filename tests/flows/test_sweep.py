"""A sweep: its own stage graph, cells that are trained once, and the words and pictures that come out."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from graftwork.errors import DataError, SettingsError, StateError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.ledger import Ledger
from graftwork_flows.advice import print_recommendation, print_scores
from graftwork_flows.artifacts import publish_sweep
from graftwork_flows.launch import bring_up_to_date
from graftwork_flows.pipeline import Pipeline
from graftwork_flows.runs import begin, run_plainly
from graftwork_flows.sweep_graph import GOALS, MARK, _digest, write_graph
from tests.flows.conftest import call, edit
from tests.flows.recorder import Recorder


def sweep(workspace: Path) -> list[str]:
    """Sweep in this process; return the stages that core computed."""
    write_graph(workspace)
    recorder = Recorder()
    with begin(workspace, goals=GOALS) as going:
        recorder.watch(going)
        run_plainly(going, lambda stage: recorder)
        assert not going.failures, going.failures
    return recorder.computed


def cells(workspace: Path) -> int:
    """Return how many trainings a sweep has evaluated."""
    return sum(trial.test_accuracy is not None for trial in Ledger(Layout(workspace).ledger).all())


def test_a_sweep_trains_each_cell_once_and_can_be_extended(computed: Path) -> None:
    first = ["cells@source-scratch", "cells@source-full_copy", "sweep"]
    assert sweep(computed) == first, "what a run has computed is taken from there"
    assert cells(computed) == 2 * 2 * 2
    assert sweep(computed) == []
    edit(computed / "params.yaml", "labels_per_class: [2, 5]", "labels_per_class: [2, 5, 10]")
    assert sweep(computed) == first
    assert cells(computed) == 2 * 2 * 3
    edit(computed / "params.yaml", "sweep: {strategies: [scratch, full_copy]", "sweep: {strategies: [scratch, freeze]")
    assert sweep(computed) == ["cells@source-freeze", "sweep"]
    assert not Layout(computed).cells("source", "full_copy").exists()


def test_a_graph_of_another_version_is_made_anew_unless_it_was_changed_by_hand(workspace: Path) -> None:
    write_graph(workspace)
    file = workspace / "sweep" / "dvc.yaml"
    mark, _, graph = file.read_text().partition("\n")
    assert mark == MARK + _digest(graph)
    own = f"{mark}\n{graph}# my own remark\n"
    file.write_text(own)
    write_graph(workspace)
    assert file.read_text() == own, "the user's changes to this version's graph stay"
    old = graph.replace("      - evidence\n", "")
    file.write_text(f"{MARK}{_digest(old)}\n{old}")
    write_graph(workspace)
    assert file.read_text() == f"{mark}\n{graph}"
    for theirs in (f"{MARK}{_digest(old)}\n{old}# my own remark\n", old):
        file.write_text(theirs)
        with pytest.raises(StateError, match="changed by hand") as raised:
            write_graph(workspace)
        assert "writes it anew" in raised.value.fix and file.read_text() == theirs


def test_a_run_goes_on_when_the_sweep_is_taken_out_of_the_settings(workspace: Path) -> None:
    write_graph(workspace)
    file = workspace / "sweep" / "dvc.yaml"
    graph = file.read_text()
    edit(workspace / "params.yaml", "sweep: {strategies", "# {strategies")
    with begin(workspace) as going:
        assert going.nodes
    assert not file.exists()
    file.write_text(graph + "# my own remark\n")
    with pytest.raises(StateError, match="no sweep in params.yaml"), begin(workspace):
        pass
    assert file.exists()


def test_the_graph_follows_sources_and_strategies(workspace: Path) -> None:
    write_graph(workspace)
    before = (workspace / "sweep" / "dvc.yaml").read_text()
    edit(workspace / "params.yaml", "sweep: {strategies: [scratch, full_copy]", "sweep: {strategies: [scratch, freeze]")
    edit(workspace / "params.yaml", "  source:\n", "  other:\n")
    edit(workspace / "params.yaml", "sources: [source]", "sources: [other]")
    write_graph(workspace)
    names = {node.name for node in Pipeline(workspace).nodes(GOALS)}
    assert {name for name in names if name.startswith("cells")} == {"cells@other-scratch", "cells@other-freeze"}
    assert (workspace / "sweep" / "dvc.yaml").read_text() == before


def test_a_run_leaves_the_sweep_alone_and_dvc_repro_does_the_same(computed: Path) -> None:
    sweep(computed)
    assert "cells@source-scratch" not in {node.name for node in Pipeline(computed).nodes()}
    assert "up to date" in call(computed, "dvc", "status")
    lock = (computed / "sweep" / "dvc.lock").read_bytes()
    assert "Running stage" not in call(computed, "dvc", "repro", "sweep/dvc.yaml")
    assert (computed / "sweep" / "dvc.lock").read_bytes() == lock


def test_another_source_is_pretrained_ranked_and_swept(
    computed: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    text = "  target:\n    {dataset"
    settings = "{dataset: npz, path: data/target.npz, validation: 0.2, test: 0.2, augmentation: [], "
    settings += "image: null, storage: auto}"
    other = f"  other:\n    {settings}\n"
    edit(computed / "params.yaml", text, other + text)
    edit(computed / "params.yaml", "sources: [source]", "sources: [source, other]")
    assert {"pretrain@other", "cells@other-full_copy"} <= set(sweep(computed))
    found = read_json(Layout(computed).sweep / "metrics.json")["sources"]
    assert found["source"]["scratch"] == found["other"]["scratch"], "scratch has no source"
    assert found["source"]["full_copy"] != found["other"]["full_copy"]
    assert "full_copy from other" in (Layout(computed).sweep / "report.html").read_text()
    print_scores(computed, as_json=True)
    assert set(json.loads(capsys.readouterr().out)["mean_ranks"]) == {"other", "source"}
    assert "transfer@scratch" not in call(computed, "dvc", "status"), "weights still come from the first"


def test_the_command_line_prints_what_it_found(computed: Path) -> None:
    said = call(computed, "graftwork", "sweep", "--without-prefect", "--quiet")
    assert said.startswith("Transfer ") and "With 2 labels a class full_copy" in said
    assert (computed / "sweep" / "dvc.yaml").is_file()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("strategies: [scratch, full_copy]", "strategies: [scratch, fullcopy]", "Did you mean full_copy?"),
        ("strategies: [scratch, full_copy]", "strategies: [freeze, full_copy]", "'scratch' is the control"),
        ("labels_per_class: [2, 5]", "labels_per_class: [5, 2]", "budgets must rise"),
        ("sweep: {strategies", "# {strategies", "There is nothing to sweep"),
    ],
)
def test_a_sweep_that_can_not_be_is_refused_with_the_reason(workspace: Path, old: str, new: str, said: str) -> None:
    edit(workspace / "params.yaml", old, new)
    with pytest.raises(SettingsError, match=re.escape(said)):
        write_graph(workspace)
    assert not (workspace / "sweep").exists()


def test_a_strategy_that_needs_images_is_refused_before_anything_is_trained_from_weights_alone(workspace: Path) -> None:
    there = "imports: {there: {weights: safetensors, path: data/there.safetensors}}"
    edit(workspace / "params.yaml", "imports: {}", there)
    edit(workspace / "params.yaml", "sources: [source]", "sources: [source, there]")
    edit(workspace / "params.yaml", "strategies: [scratch, full_copy]", "strategies: [scratch, replayed]")
    edit(workspace / "params.yaml", "  scratch: []", "  scratch: []\n  replayed: [full_copy, joint]")
    (workspace / "data" / "there.safetensors").touch()
    with pytest.raises(SettingsError, match="Of the source 'there' there are weights alone"):
        sweep(workspace)
    assert not (workspace / "weights").exists() or not any((workspace / "weights").iterdir())


def test_more_labels_than_there_are_images_are_refused(computed: Path) -> None:
    edit(computed / "params.yaml", "labels_per_class: [2, 5]", "labels_per_class: [2, 500]")
    write_graph(computed)
    with pytest.raises(DataError, match="500 is more than the 20 training images"):
        bring_up_to_date(computed, GOALS, quiet=True)


def test_scores_and_a_recommendation_are_printed(computed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_scores(computed, as_json=False)
    table = capsys.readouterr().out
    assert "LogME" in table and "untrained" in table and "mean rank" in table
    print_recommendation(computed, 120.0, 4, as_json=False)
    said = capsys.readouterr().out
    assert "Recommended: " in said and "best: [" in said
    print_recommendation(computed, 120.0, 4, as_json=True)
    assert json.loads(capsys.readouterr().out)["name"] in said.partition("Recommended: ")[2]


def test_the_prefect_artifacts_tell_every_budget(computed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_graph(computed)
    bring_up_to_date(computed, GOALS, quiet=True)
    made: dict[str, object] = {}
    for kind, field in (("markdown", "markdown"), ("table", "table")):
        monkeypatch.setattr(
            f"graftwork_flows.artifacts.create_{kind}_artifact",
            lambda key, description, field=field, **held: made.update({key: held[field]}),
        )
    assert publish_sweep(Layout(computed)).startswith("Transfer ")
    rows = made["sweep"]
    assert isinstance(rows, list) and [row["strategy"] for row in rows] == ["scratch", "full_copy"]
    assert set(rows[1]) == {"source", "strategy", "2 labels", "5 labels"}
