"""What the stage features writes is what scores and trainings look for."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.files import read_json
from graftwork.rehearsal import rests_on_trunk
from graftwork.settings import Use
from graftwork.stages import Context
from tests.core.small import REGISTRY
from tests.core.tiny_workspace import run, tiny_settings, workspace

STACKS = {"scratch": (), "freeze": ("full_copy", "freeze"), "full_copy": ("full_copy",)}


def prepared(root: Path, augmentation: tuple[str, ...] = (), **changes: object) -> Context:
    return workspace(root, tiny_settings(strategies=STACKS, target={"augmentation": augmentation}, **changes))


def kept_here(context: Context) -> list[str]:
    folder = context.layout.features
    return [path.name for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


@pytest.mark.parametrize(("augmentation", "views"), [((), 2), (("flip",), 6)])
def test_a_probe_finds_all_that_it_trains_on(augmentation: tuple[str, ...], views: int, tmp_path: Path) -> None:
    context = prepared(tmp_path / "site", augmentation)
    run(context, ("features", "source"))
    written = read_json(context.layout.trunk_features("source") / "features.json")
    assert len(written) == views  # with augmentation: four views, and the images of training and validation as they are
    run(context, ("score", "source"), ("recommend", ""), ("transfer", "freeze"), ("finetune", "freeze"))
    assert kept_here(context) == []
    before = {path.name: path.read_bytes() for path in context.layout.trunk_features("source").rglob("*.npy")}
    run(context, ("features", "source"))
    assert before == {path.name: path.read_bytes() for path in context.layout.trunk_features("source").rglob("*.npy")}


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


@pytest.mark.parametrize(
    ("stack", "rests"),
    [
        (["full_copy", "freeze"], True),
        (["full_copy", "lp_ft"], True),
        (["full_copy", "freeze", "bss"], True),
        (["full_copy", "freeze", "lwf"], False),  # which looks at images
        (["full_copy", "feature_extract"], False),  # which takes no steps
        (["full_copy"], False),
        ([], False),
        (["auto"], False),
    ],
)
def test_views_are_computed_for_stacks_that_train_on_the_trunk_as_it_is(stack: list[str], rests: bool) -> None:
    uses = tuple(Use.model_validate(name) for name in stack)
    assert rests_on_trunk(tiny_settings(), REGISTRY, "some", uses) == rests
