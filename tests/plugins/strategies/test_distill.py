"""Distillation is the published formula, on the classes that teacher and student share by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import nn

from graftwork.errors import SettingsError
from graftwork.source import Source
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork_plugins.strategies.distill import Distill


class Constant(nn.Module):
    """Answers every image with the same logits."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1)


def target(classes: tuple[str, ...]) -> TargetModel:
    teacher = Source(("cat", "dog", "hen"), lambda: Constant([2.0, -1.0, 0.5]))
    return TargetModel(Constant([0.0, 0.0]), frozenset(), frozenset(), teacher, classes)


def test_it_is_the_divergence_of_both_softened_answers_of_the_shared_classes() -> None:
    prepared, strategy = target(("hen", "cat")), Strategy("tiny", [Distill(strength=0.7, temperature=3.0)])
    strategy.prepare_model(prepared)
    logits = torch.tensor([[0.3, -0.2], [1.0, 4.0]])
    step = Step(prepared, torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), logits)
    wanted, found = log_softmax(np.array([0.5, 2.0]) / 3), log_softmax(logits.numpy() / 3, axis=1)
    divergence = (np.exp(wanted) * (wanted - found)).sum(axis=1).mean()
    loss = strategy.loss_terms(step)
    assert loss is not None and float(loss) == pytest.approx(0.7 * 9 * divergence, rel=1e-5)


def test_the_teacher_does_not_learn() -> None:
    prepared, strategy = target(("cat", "dog", "hen")), Strategy("tiny", [Distill()])
    strategy.prepare_model(prepared)
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = strategy.loss_terms(Step(prepared, torch.zeros(2, 1, 2, 2), torch.tensor([0, 1]), logits))
    assert loss is not None
    loss.backward()
    assert logits.grad is not None
    assert all(parameter.grad is None for parameter in prepared.notes["Distill"][0].parameters())


def test_a_class_that_the_source_does_not_know_is_named() -> None:
    with pytest.raises(SettingsError, match="'?cow") as error:
        Strategy("tiny", [Distill()]).prepare_model(target(("cat", "cow")))
    assert "cat, dog, hen" in error.value.expected and "lwf" in error.value.fix
