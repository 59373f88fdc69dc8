"""What is frozen stays equal to the bit, norms included as their setting says."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.training import train
from graftwork_plugins.freeze import Freeze
from graftwork_plugins.full_copy import FullCopy
from tests.core.tiny import copied, different, job

HEAD = {"head.weight", "head.bias"}
STATISTICS = {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
AFFINE = {"norm.weight", "norm.bias"}


@pytest.mark.parametrize(
    ("batch_norm", "moving"),
    [("eval", HEAD), ("update", HEAD | STATISTICS), ("train_affine", HEAD | STATISTICS | AFFINE)],
)
def test_training_moves_the_head_and_what_the_setting_allows(tmp_path: Path, batch_norm: str, moving: set[str]) -> None:
    work = job(tmp_path, FullCopy(), Freeze(batch_norm), optimizer="adamw", weight_decay=0.5)  # type: ignore[arg-type]
    before = copied(work.target.model)
    trained = train(work)
    assert set(different(before, work.target.model.state_dict())) == moving
    assert set(different(before, trained.tensors)) == moving


def test_only_what_moves_is_trainable(tmp_path: Path) -> None:
    assert set(job(tmp_path, FullCopy(), Freeze()).target.trainable()) == HEAD
    assert set(job(tmp_path, FullCopy(), Freeze("train_affine")).target.trainable()) == HEAD | AFFINE


def test_dropout_stays_in_training_mode_while_norms_are_in_evaluation_mode(tmp_path: Path) -> None:
    work = job(tmp_path, FullCopy(), Freeze())
    work.target.model.train()
    work.strategy.epoch_started(work.target, 0)
    modes = {name: module.training for name, module in work.target.model.named_children()}
    assert modes == {"stem": True, "norm": False, "drop": True, "head": True}
