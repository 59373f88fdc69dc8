"""Two processes that share every batch train the weights of one: to float tolerance, batch normalisation included."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.job import Trained
from graftwork.settings import Engine
from graftwork.shared_norms import SharedStatistics
from graftwork.strategy import Step
from graftwork.team import ALONE, Team
from graftwork.training import train
from graftwork_plugins.augmentations.gathers import Flip
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.l2_sp import L2SP
from tests.core.teams import in_team
from tests.core.tiny import different, job, stripes

LAST = {"epochs": 4, "validate_every_epochs": 100}  # so that the last epoch is delivered, however close others are


def trained(folder: Path, team: Team, *plugins: object, **changes: Any) -> Trained:
    """Train without dropout, whose draws each process makes for its own images."""
    wanted = job(folder, *plugins, **{**LAST, **changes})
    wanted.target.model.drop.p = 0.0
    wanted.checkpoints._writes = team.leads
    return train(replace(wanted, team=team))


def both(folder: Path, *plugins: object, size: int = 2, **changes: Any) -> tuple[Trained, list[Trained]]:
    """Return what one process trains, and what each of a team does."""
    return trained(folder / "one", ALONE, *plugins, **changes), in_team(
        folder, lambda team: trained(folder / "team", team, *plugins, **changes), size
    )


def require_close(one: Trained, team: list[Trained]) -> None:
    for member in team:
        assert not different(member.tensors, team[0].tensors), "every process has the same bits"
        assert member.history == team[0].history
    for name, tensor in one.tensors.items():
        assert torch.allclose(tensor.float(), team[0].tensors[name].float(), rtol=1e-4, atol=1e-5), name
    assert team[0].history[-1]["loss"] == pytest.approx(one.history[-1]["loss"], rel=1e-4)


@dataclass(frozen=True)
class CentreLogits:
    """A term of the loss that is a mean over images."""

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        return step.logits.mean(dim=1).square().mean()


def test_two_processes_train_the_weights_of_one(tmp_path: Path) -> None:
    one, team = both(tmp_path, FullCopy(), augmentation=(Flip(),))
    require_close(one, team)
    assert any(torch.equal(one.tensors[name], tensor) is False for name, tensor in team[0].tensors.items())


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 15},  # 7 and 8 images
        {"batch_size": 16, "class_weights": "balanced", "train": stripes(40, seed=1).take(torch.arange(31))},
        {"batch_size": 64},  # one batch of all images
    ],
    ids=["uneven shares", "weighted classes", "a batch larger than the data"],
)
def test_shares_count_by_what_they_hold(tmp_path: Path, changes: dict[str, Any]) -> None:
    require_close(*both(tmp_path, FullCopy(), CentreLogits(), **changes))


def test_three_processes_share_as_well(tmp_path: Path) -> None:
    require_close(*both(tmp_path, FullCopy(), size=3))


def test_penalties_on_weights_are_added_once_whatever_the_number_of_processes(tmp_path: Path) -> None:
    require_close(*both(tmp_path, FullCopy(), L2SP(alpha=1.0, beta=0.5)))


def test_mixed_images_find_their_partners_in_the_whole_batch(tmp_path: Path) -> None:
    from graftwork_plugins.augmentations.mixing import MixUp

    require_close(*both(tmp_path, FullCopy(), augmentation=(MixUp(alpha=1.0),)))


def test_an_interrupted_team_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    def interrupted(team: Team) -> tuple[Trained, Trained]:
        whole = trained(tmp_path / "whole", team, FullCopy())
        stops = job(tmp_path / "halves", FullCopy(), **LAST)
        stops.target.model.drop.p = 0.0
        stops.checkpoints._writes = team.leads
        with pytest.raises(InterruptedError):
            train(replace(stops, team=team, progress=_StopsAfter(2)))
        return whole, trained(tmp_path / "halves", team, FullCopy())

    for whole, resumed in in_team(tmp_path, interrupted):
        assert not different(whole.tensors, resumed.tensors)


class _StopsAfter:
    """A progress that ends the training when so many epochs are done, and their checkpoint is written."""

    def __init__(self, epochs: int) -> None:
        self.left = epochs

    def log(self, message: str) -> None:
        pass

    def check(self) -> None:
        pass

    def advance(self, fraction: float, message: str) -> None:
        self.left -= 1
        if not self.left:
            raise InterruptedError


def test_one_process_is_left_alone() -> None:
    loss = torch.tensor(2.0)
    assert ALONE.sum(loss) is loss
    assert ALONE.share(7) == slice(0, 7) and ALONE.purpose == ()


@pytest.mark.parametrize(("count", "size"), [(16, 2), (15, 2), (7, 3), (3, 3)])
def test_shares_are_everything_once(count: int, size: int) -> None:
    shares = [range(count)[Team(rank, size).share(count)] for rank in range(size)]
    assert [index for share in shares for index in share] == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_batch_smaller_than_the_team_is_refused() -> None:
    with pytest.raises(SettingsError, match="2 images can't be shared by 3 processes"):
        Team(0, 3).require_work(2)


@pytest.mark.parametrize("change", [{"side_by_side": 2}])
def test_several_trainings_at_once_and_several_processes_each_exclude_each_other(change: dict[str, Any]) -> None:
    usual = {"device": "cpu", "threads": 1, "precision": "float32", "memory_format": "contiguous", "processes": 2}
    with pytest.raises(ValueError, match="processes share one training after the other"):
        Engine(**usual | change)


def test_a_recorded_choice_doesnt_name_one_process() -> None:
    from graftwork.choice import default_choice

    usual = {"device": "cpu", "threads": 2, "precision": "float32", "memory_format": "contiguous"}
    alone, shared = default_choice(Engine(**usual)), default_choice(Engine(**usual, processes=2))
    assert "processes" not in alone.recorded() | alone.deciding() and "processes" not in Engine(**usual).as_key()
    assert shared.recorded()["processes"] == shared.deciding()["processes"] == 2
    assert "2 processes" in str(shared)
    member = shared.shared_by(2)
    assert (member.threads, member.side_by_side, member.processes) == (1, 1, 2)
    assert shared.shared_by(1).processes == 1


@pytest.mark.parametrize("affine", [True, False])
def test_shared_statistics_of_one_process_are_batch_normalisation(affine: bool) -> None:
    images = torch.randn(6, 3, 4, 4, generator=torch.Generator().manual_seed(0)) + 2
    norms = [torch.nn.BatchNorm2d(3, affine=affine, momentum=0.3) for _ in range(2)]
    inputs = [images.clone().requires_grad_(True) for _ in norms]
    plain = norms[0](inputs[0])
    with SharedStatistics(lambda values: values):
        shared = norms[1](inputs[1])
        norms[1].eval()
        assert torch.equal(norms[1](images), norms[1](images)), "evaluation is as ever"
    assert torch.allclose(plain, shared, atol=1e-6)
    for answer in (plain, shared):
        answer.square().mul(torch.arange(3).view(1, -1, 1, 1)).sum().backward()
    assert torch.allclose(inputs[0].grad, inputs[1].grad, atol=1e-5)
    for one, other in zip(norms[0].buffers(), norms[1].buffers(), strict=True):
        assert torch.allclose(one, other)
