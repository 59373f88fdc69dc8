"""A strategy that leaves its stack open gets what was recommended; the search trains apart from what is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from graftwork.errors import SettingsError, StateError
from graftwork.files import read_json, write_json
from graftwork.hookspecs import hookimpl
from graftwork.job import Job, Trained
from graftwork.ledger import Ledger
from graftwork.registry import load_plugins
from graftwork.scoring import SourceScores
from graftwork.search import Recommendation, Search, Stack, Tried
from graftwork.settings import Import, Use
from graftwork.stages import Context, trials
from graftwork.stages.recommend import own_search, stack_of
from graftwork.storage import load_split
from graftwork.training import train
from tests.core.tiny_workspace import run, tiny_settings, workspace

FULL_COPY = (Use.model_validate("full_copy"),)
FREEZE = (*FULL_COPY, Use.model_validate({"freeze": {"until": 1}}))


@dataclass(frozen=True)
class Chooser:
    """Takes what it is told to, after one training of it."""

    @hookimpl
    def recommend(self, search: Search) -> Recommendation:
        trial = search.train("frozen", FREEZE, 0)
        row = Tried("frozen", FREEZE, (trial.validation_accuracy,), trial.seconds, "chosen")
        return Recommendation("frozen", FREEZE, ("So it was told.",), (row,), {})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Context:
    registry = load_plugins()
    registry.strategy("chooser", Chooser)
    strategies = {"scratch": (), "best": ("chooser",), "full_copy": ("full_copy",)}
    context = workspace(tmp_path_factory.mktemp("recommend"), tiny_settings(strategies=strategies), registry)
    scores = SourceScores("source", 50, {"logme": None}, {"logme": None}, None)
    write_json(context.layout.score("source"), scores.as_json())
    return context


@pytest.fixture
def context(prepared: Context) -> Context:
    for path in (prepared.layout.ledger, prepared.layout.recommendation):
        path.unlink(missing_ok=True)
    return prepared


def test_a_stack_that_params_yaml_names_is_that_stack_whatever_was_recommended(context: Context) -> None:
    assert stack_of(context, "full_copy") == FULL_COPY and stack_of(context, "scratch") == ()
    write_json(context.layout.recommendation, {"full_copy": {"stack": []}})
    assert stack_of(context, "full_copy") == FULL_COPY


def test_a_stack_that_is_left_open_is_the_one_that_was_chosen(context: Context) -> None:
    run(context, ("recommend", ""))
    assert stack_of(context, "best") == FREEZE
    run(context, ("transfer", "best"), ("finetune", "best"))
    manifest = read_json(context.layout.start("best") / "manifest.json")
    assert [entry["name"] for entry in manifest["stack"]] == ["full_copy", "freeze"]
    assert {trial.strategy for trial in Ledger(context.layout.ledger).all()} == {"frozen", "best"}


def test_from_weights_alone_the_best_that_needs_no_images_stands_in(context: Context) -> None:
    joint = (*FULL_COPY, Use.model_validate("joint"))
    tried = [
        Tried("joint", joint, (0.9, 0.9), 1, "chosen"), Tried("frozen", FREEZE, (1.0,), 1, "out"),
        Tried("scratch", (), (0.6, 0.7), 1, ""), Tried("full_copy", FULL_COPY, (0.8, 0.7), 1, ""),
    ]  # fmt: skip
    found = Recommendation("joint", joint, (), tuple(tried), {})
    write_json(context.layout.recommendation, {"best": found.as_json()})
    there = Import(weights=Use.model_validate("safetensors"), path="x")
    settings = context.settings.model_copy(update={"imports": {"there": there}})
    context = replace(context, settings=settings)
    assert stack_of(context, "best") == stack_of(context, "best", "source") == joint
    assert stack_of(context, "best", "there") == FULL_COPY, "one training isn't enough to be preferred"


def test_before_anything_was_chosen_the_way_out_is_told(context: Context) -> None:
    with pytest.raises(StateError) as missing:
        stack_of(context, "best")
    assert missing.value.where == str(context.layout.recommendation) and missing.value.fix
    write_json(context.layout.recommendation, {})
    with pytest.raises(StateError, match="Nothing was chosen yet for the strategy 'best'") as raised:
        stack_of(context, "best")
    assert "graftwork run" in raised.value.fix


def test_where_no_strategy_leaves_its_stack_open_nothing_is_recommended(context: Context) -> None:
    settings = context.settings.model_copy(update={"strategies": {"scratch": (), "full_copy": FULL_COPY}})
    run(replace(context, settings=settings), ("recommend", ""))
    assert read_json(context.layout.recommendation) == {}


def test_a_search_sees_the_task_and_no_test_image(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def watched(folder: Path) -> Any:
        read.append(folder.name)
        return load_split(folder)

    monkeypatch.setattr("graftwork.stages.recommend.load_split", watched)
    search = own_search(context)
    assert sorted(read) == ["train", "validation"]
    assert search.strategies == {"scratch": (), "full_copy": FULL_COPY}, "without those that choose themselves"
    assert search.labels_per_class == len(load_split(context.layout.split("target", "train"))) / 2
    assert search.past == [] and search.scores.source == "source"


def test_candidates_are_rehearsed_and_what_can_not_be_trained_is_a_settings_error(context: Context) -> None:
    search = own_search(context)
    assert search.trainable_share(()) == search.trainable_share(FULL_COPY) == 1.0
    assert 0 < search.trainable_share(FREEZE) < 1
    with pytest.raises(SettingsError):
        search.trainable_share((*FULL_COPY, Use.model_validate("delta")))  # it needs stages, which an mlp has not


def test_a_repeat_is_trained_once_from_a_seed_of_its_own(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[Job] = []

    def counted(job: Job) -> Trained:
        jobs.append(job)
        return train(job)

    monkeypatch.setattr(trials, "train", counted)

    def search(stack: Stack, repeat: int) -> float:
        return own_search(context).train("candidate", stack, repeat).validation_accuracy

    first = [search(FULL_COPY, 0), search(FULL_COPY, 1), search((), 0)]
    assert [search(FULL_COPY, 0), search(FULL_COPY, 1), search((), 0)] == first
    assert len(jobs) == 3
    assert jobs[0].seed == jobs[2].seed != jobs[1].seed, "candidates are compared on the same seeds"
    assert not {job.seed for job in jobs} & {context.settings.seed, *context.settings.seeds}
    assert all(trial.test_accuracy is None for trial in own_search(context).past)
