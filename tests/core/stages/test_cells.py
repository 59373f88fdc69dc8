"""A cell is trained once; its file says the same whoever computes it, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graftwork import label_curves
from graftwork.errors import DataError, SettingsError
from graftwork.files import read_json
from graftwork.job import Job, Trained
from graftwork.ledger import Ledger
from graftwork.settings import Settings
from graftwork.splits import label_budgets
from graftwork.stages import Context, cells, trials
from graftwork.stages.cells import REPEATABLE
from graftwork.stages.fetch import load_raw
from graftwork.storage import load_split
from graftwork.sweep_findings import find_sweep
from graftwork.training import train
from tests.core.small import STRATIFIED
from tests.core.tiny_workspace import run, tiny_settings, workspace

SOURCES = ("source", "other")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return workspace(tmp_path_factory.mktemp("cells"), tiny_settings(SOURCES))


@pytest.fixture
def context(prepared: Context) -> Context:
    prepared.layout.ledger.unlink(missing_ok=True)
    return prepared


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Job]]:
    """What was trained."""
    found: list[Job] = []

    def counted(job: Job) -> Trained:
        found.append(job)
        return train(job)

    monkeypatch.setattr(trials, "train", counted)
    yield found


def changed(context: Context, **changes: Any) -> Context:
    settings: Settings = tiny_settings(SOURCES, **changes)
    return replace(context, settings=settings)


def rows(context: Context, item: str = "source-full_copy") -> list[dict[str, Any]]:
    run(context, ("cells", item))
    source, _, strategy = item.partition("-")
    found: list[dict[str, Any]] = read_json(context.layout.cells(source, strategy))
    return found


def test_there_is_a_row_for_each_budget_and_seed_and_it_holds_no_seconds(context: Context) -> None:
    found = rows(context)
    assert [(row["labels_per_class"], row["labels"], row["seed"]) for row in found] == [
        (2, 4, 0), (2, 4, 1), (4, 8, 0), (4, 8, 1),
    ]  # fmt: skip
    assert all(row.keys() == set(REPEATABLE) for row in found)
    assert not [name for name in REPEATABLE if "second" in name or "time" in name]
    assert all(0 <= row["test_accuracy"] <= 1 for row in found)


def test_computed_anew_the_file_is_the_same_byte_for_byte(context: Context, jobs: list[Job]) -> None:
    path = context.layout.cells("source", "full_copy")
    rows(context)
    first = path.read_bytes()
    context.layout.ledger.unlink()
    path.unlink()
    rows(context)
    assert len(jobs) == 2 * 4
    assert path.read_bytes() == first
    rows(context)
    assert len(jobs) == 2 * 4 and path.read_bytes() == first, "from the ledger it is the same too"


def test_another_budget_or_seed_trains_only_what_is_new(context: Context, jobs: list[Job]) -> None:
    first = rows(context)
    jobs.clear()
    second = rows(changed(context, sweep={"labels_per_class": (2, 3, 4, 6)}))
    assert sorted((len(job.train), job.seed) for job in jobs) == [(6, 0), (6, 1), (12, 0), (12, 1)]
    assert [row for row in second if row["labels"] in (4, 8)] == first
    jobs.clear()
    third = rows(changed(context, seeds=(0, 1, 5)))
    assert [(len(job.train), job.seed) for job in jobs] == [(4, 5), (8, 5)]
    assert [row for row in third if row["seed"] != 5] == first


def test_what_does_not_decide_a_training_trains_nothing(context: Context, jobs: list[Job]) -> None:
    rows(context)
    jobs.clear()
    rows(changed(context, evidence={"confidence": 0.8, "margin": 0.1}, sweep={"strategies": ("scratch", "lwf")}))
    rows(changed(context, target={"labels": 10}))
    assert jobs == []


def test_scratch_is_trained_once_for_all_sources(context: Context, jobs: list[Job]) -> None:
    first = rows(context, "source-scratch")
    jobs.clear()
    assert rows(context, "other-scratch") == first
    assert jobs == []
    rows(context, "other-full_copy")
    assert len(jobs) == 4


def test_each_cell_trains_on_its_budget_for_the_least_number_of_steps(context: Context, jobs: list[Job]) -> None:
    wide = changed(context, sweep={"labels_per_class": (2, 10), "minimum_steps": 7})
    rows(wide)
    settings, layout = wide.settings, wide.layout
    raw, _ = load_raw(layout.raw("target"))
    budgets = label_budgets(raw, settings.data["target"], settings.seed, (2, 10), "", STRATIFIED)
    for job in jobs:
        assert (job.train.images.numpy() == raw.images[budgets[len(job.train) // 2]]).all()
        assert job.training == settings.finetune.model_copy(update={"epochs": {4: 7, 20: 4}[len(job.train)]})
        assert (job.validation.images == load_split(layout.split("target", "validation")).images).all()


def test_a_cell_is_the_trial_of_a_run_with_as_many_labels_and_steps(context: Context, jobs: list[Job]) -> None:
    """What `graftwork run` trained on 4 labels a class, the sweep needs not train but for its test accuracy."""
    few = changed(context, target={"labels": 8}, sweep={"minimum_steps": 1})
    run(few, ("augment", "target"), ("transfer", "full_copy"), ("finetune", "full_copy"))
    own = {trial.key for trial in Ledger(few.layout.ledger).all()}
    assert own == {row["key"] for row in rows(few) if row["labels"] == 8}
    run(context, ("augment", "target"))


def test_a_budget_that_a_class_can_not_fill_and_a_missing_sweep_are_told(context: Context, jobs: list[Job]) -> None:
    with pytest.raises(DataError, match="labels_per_class: 99 is more than"):
        rows(changed(context, sweep={"labels_per_class": (2, 99)}))
    with pytest.raises(SettingsError, match="nothing to sweep"):
        rows(replace(context, settings=context.settings.model_copy(update={"sweep": None})))
    assert jobs == []


def test_progress_runs_from_nought_to_one_over_all_of_a_cells_trainings(context: Context) -> None:
    heard: list[float] = []

    class Listener:
        def log(self, message: str) -> None:
            pass

        def advance(self, fraction: float, message: str) -> None:
            heard.append(fraction)

        def check(self) -> None:
            pass

    rows(replace(context, progress=Listener()))
    assert heard == sorted(heard) and heard[0] > 0 and heard[-1] == 1.0


def test_a_sweep_is_written_up_from_its_cells_alone(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_curves, "REPEATS", 50)
    for source in SOURCES:
        for strategy in ("scratch", "full_copy"):
            rows(context, f"{source}-{strategy}")
    run(context, ("sweep", ""))
    folder = context.layout.sweep
    metrics, first = (folder / "metrics.json").read_bytes(), find_sweep(context.settings, context.layout)
    assert all(point.seconds for point in first.points)
    context.layout.ledger.unlink()
    run(context, ("sweep", ""))
    elsewhere = find_sweep(context.settings, context.layout)
    assert all(point.seconds is None for point in elsewhere.points), "another machine computed it"
    assert (folder / "metrics.json").read_bytes() == metrics
    lines = (folder / "curves.csv").read_text().splitlines()
    assert lines[0] == "strategy,labels_per_class,accuracy" and len(lines) == 1 + 2 * 2 * 2 * 2
    assert "full_copy from other" in (folder / "report.html").read_text()


def test_the_stage_names_the_folder_it_writes(context: Context) -> None:
    cells.cells(context, "other-full_copy")
    assert context.layout.cells("other", "full_copy") == Path(context.layout.root, "sweep/cells/other-full_copy.json")
    assert {trial.source for trial in Ledger(context.layout.ledger).all()} == {"other"}
