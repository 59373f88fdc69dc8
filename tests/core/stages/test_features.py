"""What the stage features writes is what scores and trainings look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.files import read_json
from graftwork.stages import Context
from tests.core.small import TRAINING
from tests.core.tiny_workspace import run, tiny_settings, workspace

STACKS = {"scratch": (), "freeze": ("full_copy", "freeze"), "full_copy": ("full_copy",)}


def prepared(root: Path, augmentation: tuple[str, ...] = (), **changes: object) -> Context:
    return workspace(root, tiny_settings(strategies=STACKS, target={"augmentation": augmentation}, **changes))


def kept_here(context: Context) -> list[str]:
    folder = context.layout.features
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


@pytest.mark.parametrize(("augmentation", "own"), [((), 0), (("flip",), 4)])
def test_a_probe_finds_what_it_trains_on_but_for_augmented_views(
    augmentation: tuple[str, ...], own: int, tmp_path: Path
) -> None:
    finetune = {**TRAINING, "epochs": 5}
    context = prepared(tmp_path / "site", augmentation, finetune=finetune)
    run(context, ("features", "source"))
    folder = context.layout.trunk_features("source")
    assert len(read_json(folder / "features.json")) == 2  # training and validation
    run(context, ("score", "source"), ("recommend", ""), ("transfer", "freeze"), ("finetune", "freeze"))
    assert len(kept_here(context)) == own
    before = {path: path.read_bytes() for path in folder.rglob("*.*")}
    run(context, ("features", "source"))
    assert before == {path: path.read_bytes() for path in folder.rglob("*.*")}


def test_scores_are_the_same_with_and_without_it(tmp_path: Path) -> None:
    context = prepared(tmp_path / "site")
    run(context, ("score", "source"))
    without = read_json(context.layout.score("source"))
    run(context, ("features", "source"), ("score", "source"))
    assert read_json(context.layout.score("source")) == without


def test_without_it_a_probe_keeps_activations_on_this_machine(tmp_path: Path) -> None:
    context = prepared(tmp_path / "site")
    run(context, ("recommend", ""), ("transfer", "freeze"), ("finetune", "freeze"))
    assert len(kept_here(context)) == 2
