"""L2-SP is the formula of its paper, and its limits are plain fine-tuning and freezing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.step import L2SPInTheLoss
from graftwork.errors import SettingsError
from graftwork.models import head_tensors
from graftwork.strategy import Strategy, TargetModel
from graftwork.training import train
from graftwork_plugins.strategies.freeze import Freeze
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.l2_sp import L2SP
from tests.core.tiny import copied, different, graft, job, tiny_net


def penalty(strategy: Strategy, target: TargetModel) -> float:
    found = strategy.penalty(target)
    assert found is not None
    return float(found.detach())


def test_the_penalty_is_zero_at_the_start_but_for_the_head() -> None:
    strategy = Strategy("tiny", [FullCopy(), L2SP(alpha=5.0, beta=0.2)])
    target = graft(strategy, tiny_net(seed=1), tiny_net())
    head = target.model.get_parameter("head.weight")
    assert penalty(strategy, target) == pytest.approx(0.1 * float(head.detach().square().sum()), rel=1e-6)


def test_the_penalty_is_an_independent_formulas() -> None:
    strategy = Strategy("tiny", [FullCopy(), L2SP(alpha=0.3, beta=0.7)])
    source = tiny_net(seed=1)
    target = graft(strategy, source, tiny_net())
    with torch.no_grad():
        for parameter in target.model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.1)
    now = {name: p.detach().numpy().astype(np.float64) for name, p in target.model.named_parameters()}
    moved = now["stem.weight"] - source.stem.weight.detach().numpy()  # biases and norms are left out of both sums
    expected = 0.3 / 2 * (moved**2).sum() + 0.7 / 2 * (now["head.weight"] ** 2).sum()
    assert penalty(strategy, target) == pytest.approx(expected, rel=1e-5)


def test_the_reference_is_a_copy_that_training_does_not_move() -> None:
    strategy = Strategy("tiny", [FullCopy(), L2SP(beta=0.0)])
    target = graft(strategy, tiny_net(seed=1), tiny_net())
    with torch.no_grad():
        target.model.get_parameter("stem.weight").add_(1.0)
    assert penalty(strategy, target) > 0


def test_without_pull_it_is_full_copy_without_weight_decay_to_the_bit(tmp_path: Path) -> None:
    plain = train(job(tmp_path / "plain", FullCopy(), optimizer="adamw", weight_decay=0.0))
    pulled = train(job(tmp_path / "pulled", FullCopy(), L2SP(alpha=0.0, beta=0.0), optimizer="adamw", weight_decay=0.5))
    assert different(plain.tensors, pulled.tensors) == []


def test_on_the_gradients_it_gives_the_bits_that_it_gives_in_the_loss(tmp_path: Path) -> None:
    direct = train(job(tmp_path / "direct", FullCopy(), L2SP(alpha=0.3, beta=0.7)))
    in_the_loss = train(job(tmp_path / "loss", FullCopy(), L2SPInTheLoss(alpha=0.3, beta=0.7)))
    assert different(direct.tensors, in_the_loss.tensors) == []


def test_the_history_holds_the_loss_with_the_penalty(tmp_path: Path) -> None:
    work = job(tmp_path, FullCopy(), L2SP(alpha=0.0, beta=2.0), epochs=1, lr=1e-9)
    plain = train(job(tmp_path / "plain", FullCopy(), epochs=1, lr=1e-9))
    head = work.target.model.get_parameter("head.weight")
    found = train(work).history[0]["loss"] - plain.history[0]["loss"]
    assert found == pytest.approx(float(head.detach().square().sum()), rel=1e-4)


def test_with_pull_it_is_another_training(tmp_path: Path) -> None:
    plain = train(job(tmp_path / "plain", FullCopy()))
    pulled = train(job(tmp_path / "pulled", FullCopy(), L2SP(alpha=1.0, beta=0.1)))
    assert "stem.weight" in different(plain.tensors, pulled.tensors)


def test_a_stronger_pull_ends_nearer_to_the_source_and_a_huge_one_stays_there(tmp_path: Path) -> None:
    distances = []
    for alpha in (0.0, 1.0, 10.0, 1000.0):
        work = job(tmp_path / str(alpha), FullCopy(), L2SP(alpha, 0.0), lr=1e-3, epochs=20)
        start = copied(work.target.model)["stem.weight"]
        train(work)
        distances.append(float((copied(work.target.model)["stem.weight"] - start).norm()))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.02 * distances[0]


class OneWeight(nn.Module):
    """A trunk of one weight, so that the minimum is known."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Linear(1, 1, bias=False)
        self.head = nn.Linear(1, 2)
        nn.init.constant_(self.trunk.weight, 3.0)

    def get_classifier(self) -> nn.Module:
        return self.head


@pytest.mark.parametrize("alpha", [0.0, 0.5, 4.0])
def test_gradient_descent_ends_where_task_and_pull_balance(alpha: float) -> None:
    model = OneWeight()
    strategy = Strategy("tiny", [L2SP(alpha=alpha, beta=0.0)])
    target = TargetModel(model, head_tensors(model), frozenset({"trunk.weight"}))
    strategy.prepare_model(target)
    weight = model.trunk.weight
    for _ in range(300):
        pull = strategy.penalty(target)
        loss = 0.5 * (weight - 1).square().sum() + pull  # min ½(w−1)² + α/2·(w−3)²
        (gradient,) = torch.autograd.grad(loss, weight)
        with torch.no_grad():
            weight -= 0.2 * gradient
    assert float(weight.detach()) == pytest.approx((1 + 3 * alpha) / (1 + alpha), abs=1e-4)


@pytest.mark.parametrize("stack", [(L2SP(),), (FullCopy(), Freeze(), L2SP())])
def test_a_stack_that_leaves_nothing_to_pull_is_refused(stack: tuple[object, ...]) -> None:
    with pytest.raises(SettingsError, match="nothing to pull towards") as raised:
        graft(Strategy("tiny", stack), tiny_net(seed=1), tiny_net())
    assert "full_copy before it" in raised.value.fix
