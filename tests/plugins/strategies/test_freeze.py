"""What is frozen stays equal to the bit, norms included as their setting says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graftwork.errors import SettingsError
from graftwork.models import head_tensors
from graftwork.strategy import Strategy, TargetModel
from graftwork.testing import build_net
from graftwork.training import train
from graftwork_plugins.strategies.freeze import Freeze
from graftwork_plugins.strategies.full_copy import FullCopy
from tests.core.tiny import copied, different, job

HEAD = {"head.weight", "head.bias"}
STATISTICS = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
AFFINE = {"norm.weight", "norm.bias"}


@pytest.mark.parametrize(
    ("batch_norm", "moving"),
    [("eval", HEAD), ("update", HEAD | STATISTICS), ("train_affine", HEAD | STATISTICS | AFFINE)],
)
def test_training_moves_the_head_and_what_the_setting_allows(tmp_path: Path, batch_norm: str, moving: set[str]) -> None:
    work = job(tmp_path, FullCopy(), Freeze(batch_norm=batch_norm), optimizer="adamw", weight_decay=0.5)  # type: ignore[arg-type]
    before = copied(work.target.model)
    trained = train(work)
    assert set(different(before, work.target.model.state_dict())) == moving
    assert set(different(before, trained.tensors)) == moving


def test_only_what_moves_is_trainable(tmp_path: Path) -> None:
    assert set(job(tmp_path, FullCopy(), Freeze()).target.trainable()) == HEAD
    assert set(job(tmp_path, FullCopy(), Freeze(batch_norm="train_affine")).target.trainable()) == HEAD | AFFINE


def test_dropout_stays_in_training_mode_while_norms_are_in_evaluation_mode(tmp_path: Path) -> None:
    work = job(tmp_path, FullCopy(), Freeze())
    work.target.model.train()
    work.strategy.epoch_started(work.target, 0, torch.optim.SGD([torch.zeros(1)]))
    modes = {name: module.training for name, module in work.target.model.named_children()}
    assert modes == {"stem": True, "norm": False, "drop": True, "head": True}


def frozen(net: str, **settings: object) -> set[str]:
    model = build_net(net, ("a", "b"), seed=0)
    target = TargetModel(model, head_tensors(model), frozenset())
    Strategy("tiny", [Freeze(**settings)]).prepare_model(target)  # type: ignore[arg-type]
    return {name for name, parameter in model.named_parameters() if not parameter.requires_grad}


@pytest.mark.parametrize(("net", "stage"), [("test_resnet", "layer3"), ("test_vit", "blocks.2")])
def test_until_a_stage_freezes_what_lies_before_it(net: str, stage: str) -> None:
    found = frozen(net, until=stage)
    names = [name for name, _ in build_net(net, ("a", "b"), seed=0).named_parameters()]
    first = next(index for index, name in enumerate(names) if name.startswith(f"{stage}."))
    assert found == set(names[:first])


@pytest.mark.parametrize("net", ["test_resnet", "test_vit"])
def test_more_stages_and_larger_fractions_freeze_more(net: str) -> None:
    counts = [len(frozen(net, until=stages)) for stages in (1, 2, 3)]
    assert counts == sorted(set(counts))
    model = build_net(net, ("a", "b"), seed=0)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for fraction in (0.1, 0.5, 0.9):
        held = sum(sizes[name] for name in frozen(net, until=fraction))
        trunk = sum(size for name, size in sizes.items() if name not in head_tensors(model))
        assert 0 < held <= fraction * trunk


CONV1 = [
    name for name, _ in build_net("test_resnet", ("a", "b"), seed=0).named_parameters() if name.startswith("conv1.")
]


def test_a_pattern_freezes_what_it_finds_and_must_find_something() -> None:
    assert frozen("test_resnet", pattern=r"^conv1\.") == set(CONV1)
    with pytest.raises(SettingsError, match="finds no parameter"):
        frozen("test_resnet", pattern="nowhere")


@pytest.mark.parametrize("until", ["layer9", 99])
def test_a_stage_that_is_not_there_is_refused(until: object) -> None:
    with pytest.raises(SettingsError, match=r"no stage 'layer9'|the trunk has 5 stages"):
        frozen("test_resnet", until=until)
