"""A stack is called in its order, its penalties are summed, and its optimizer holds what is trainable."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.optimization import build_optimizer
from graftwork.settings import Training
from graftwork.source import SourceModel
from graftwork.strategy import Step, Strategy, TargetModel
from tests.core.tiny import step, tiny_net, training


@dataclass(frozen=True)
class Noting:
    """Write its name into the target's notes, and offer a tensor and a penalty."""

    name: str
    value: float | None = None

    @hookimpl
    def choose_weights(self, source: SourceModel) -> dict[str, Tensor] | None:
        return None if self.value is None else {self.name: torch.tensor(self.value)}

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        target.notes.setdefault("order", []).append(self.name)

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        return None if self.value is None else torch.tensor(self.value)


def target(*frozen: str) -> TargetModel:
    model = tiny_net()
    for name in frozen:
        model.get_submodule(name).requires_grad_(False)
    return TargetModel(model, frozenset({"head.weight", "head.bias"}), frozenset())


def test_a_stack_is_called_in_its_order() -> None:
    here = target()
    Strategy("tiny", [Noting("a"), Noting("b"), Noting("c")]).prepare_model(here)
    assert here.notes["order"] == ["a", "b", "c"]


def test_the_first_that_chooses_weights_wins() -> None:
    source = SourceModel({}, frozenset())
    assert Strategy("tiny", [Noting("a"), Noting("b", 2.0), Noting("c", 3.0)]).choose_weights(source) == {"b": 2.0}


def test_a_stack_that_chooses_nothing_transfers_nothing() -> None:
    assert Strategy("scratch", []).choose_weights(SourceModel({"a": torch.ones(1)}, frozenset())) == {}


def test_penalties_are_summed_and_none_is_no_penalty() -> None:
    here = step(target(), torch.zeros(2, 1, 8, 8))
    assert Strategy("tiny", [Noting("a", 1.5), Noting("b"), Noting("c", 2.0)]).loss_terms(here) == 3.5
    assert Strategy("tiny", [Noting("a")]).loss_terms(here) is None


@pytest.mark.parametrize("frozen", [(), ("stem",), ("stem", "norm")])
def test_the_usual_groups_hold_what_is_trainable_once_and_spare_biases_and_norms(frozen: tuple[str, ...]) -> None:
    here = target(*frozen)
    groups = Strategy("tiny", []).parameter_groups(here, weight_decay=0.3)
    held = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, held)) == sorted(map(id, here.trainable().values()))
    assert all((p.ndim > 1) == (group["weight_decay"] == 0.3) for group in groups for p in group["params"])


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lamb", "rmsprop"])
def test_an_optimizer_moves_exactly_what_is_trainable(name: str) -> None:
    here = target("stem")
    settings: Training = training(optimizer=name, weight_decay=0.5)
    optimizer = build_optimizer(Strategy("tiny", []).parameter_groups(here, settings.weight_decay), settings)
    before = {key: p.detach().clone() for key, p in here.model.named_parameters()}
    here.model(torch.randn(4, 1, 8, 8)).square().sum().backward()
    optimizer.step()
    moved = {key for key, p in here.model.named_parameters() if not torch.equal(p, before[key])}
    assert moved == set(here.trainable())
    assert not moved & {"stem.weight", "stem.bias"}
