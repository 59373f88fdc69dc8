"""A source is scored on training images alone, in the target's format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from graftwork import scoring
from graftwork.files import read_json
from graftwork.scoring import TITLES, SourceScores
from graftwork.settings import ImageFormat
from graftwork.stages import Context
from graftwork.storage import load_split
from tests.core.tiny_workspace import run, tiny_settings, workspace


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Which splits were looked at."""
    found: list[tuple[str, str]] = []

    def watched(folder: Path) -> Any:
        found.append((folder.parent.name, folder.name))
        return load_split(folder)

    monkeypatch.setattr("graftwork.stages.score.load_split", watched)
    monkeypatch.setattr(scoring, "REPEATS", 5)
    return found


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Context:
    return workspace(tmp_path_factory.mktemp("score"), tiny_settings(("source", "other"), target={"labels": 30}))


def test_every_score_is_told_from_training_images_alone_and_the_same_every_time(
    context: Context, read: list[tuple[str, str]]
) -> None:
    run(context, ("score", "other"))
    path = context.layout.score("other")
    first = path.read_bytes()
    found = SourceScores.from_json(read_json(path))
    assert sorted(read) == [("other", "train"), ("target", "train")]
    assert (found.source, found.images) == ("other", 30) and found.scores.keys() == TITLES.keys()
    assert all(found.scores.values()) and found.frechet_distance is not None
    run(context, ("score", "other"))
    assert path.read_bytes() == first


def test_two_labels_are_too_few_for_most_scores_and_no_error(tmp_path: Path, read: list[tuple[str, str]]) -> None:
    few = workspace(tmp_path, tiny_settings(target={"labels": 2}))
    run(few, ("score", "source"))
    found = SourceScores.from_json(read_json(few.layout.score("source")))
    assert found.images == 2 and found.scores["knn_accuracy"] is None


def test_a_source_of_another_format_is_scored_in_the_targets(tmp_path: Path, read: list[tuple[str, str]]) -> None:
    plain = tiny_settings(image={"size": 32, "channels": 1}, model={"timm": {"name": "test_resnet"}})
    colour = plain.data["source"].model_copy(update={"image": ImageFormat(size=40, channels=3)})
    settings = plain.model_copy(update={"data": {**plain.data, "source": colour}})
    wide = workspace(tmp_path, replace_epochs(settings))
    run(wide, ("score", "source"))
    assert all(SourceScores.from_json(read_json(wide.layout.score("source"))).scores.values())


def replace_epochs(settings: Any) -> Any:
    """Return the settings with a source that trains for one epoch."""
    return settings.model_copy(update={"pretrain": settings.pretrain.model_copy(update={"epochs": 1})})


def test_the_untrained_model_is_the_same_whatever_the_source_learnt(
    context: Context, read: list[tuple[str, str]]
) -> None:
    run(context, ("score", "other"))
    before = read_json(context.layout.score("other"))
    longer = context.settings.model_copy(
        update={"pretrain": context.settings.pretrain.model_copy(update={"epochs": 6, "lr": 0.05})}
    )
    changed = replace(context, settings=longer)
    run(changed, ("pretrain", "other"), ("score", "other"))
    after = read_json(context.layout.score("other"))
    assert after["untrained"] == before["untrained"] and after["scores"] != before["scores"]
