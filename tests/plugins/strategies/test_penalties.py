"""Each penalty is its paper's formula, checked against numbers by hand or an independent computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from graftwork.class_weights import class_weights
from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import head_tensors
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork.testing import FLOAT32, Case, build_net
from graftwork.training import train
from graftwork_plugins.strategies.bss import spectral_shrinkage
from graftwork_plugins.strategies.co_tuning import CoTuning, relationship
from graftwork_plugins.strategies.delta import Delta, channels_last
from graftwork_plugins.strategies.ewc import EWC, fisher
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.joint import Joint
from graftwork_plugins.strategies.lwf import LwF, distillation
from graftwork_plugins.strategies.penalties import L1, L2
from tests.core.tiny import job, tiny_net

NETS = ["test_resnet", "test_vit"]
IMAGES = torch.rand(6, 1, 32, 32, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def started(net: str, folder: Path, *plugins: object) -> tuple[Strategy, TargetModel]:
    """Return a target model at the start of its training, in evaluation mode."""
    job = Case((FullCopy(), *plugins), net, epochs=2).job(folder)
    job.strategy.training_started(job.run)
    job.target.model.eval()
    return job.strategy, job.target


def penalty(strategy: Strategy, target: TargetModel, **loss: Any) -> torch.Tensor:
    """Return the stack's terms at a step whose loss is told by `loss`, as cross_entropy takes it."""
    with FLOAT32.precision():
        logits = target.model(IMAGES)
    taps, draws = target.taps, torch.Generator().manual_seed(0)
    own = nn.functional.cross_entropy(logits, LABELS, **loss)
    step = Step(target, IMAGES, LABELS, logits, taps.features, taps.maps, draws, own)
    found = strategy.loss_terms(step) if strategy.penalty(target) is None else strategy.penalty(target)
    assert found is not None
    return found.detach()


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def test_bss_sums_the_smallest_squared_singular_values() -> None:
    features = torch.tensor([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    assert float(spectral_shrinkage(features, 1)) == pytest.approx(9)
    assert float(spectral_shrinkage(features, 2)) == pytest.approx(25)
    assert float(spectral_shrinkage(features, 9)) == pytest.approx(25)


def test_distillation_has_the_known_value_times_the_squared_temperature() -> None:
    student, teacher = torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([[0.0, 1.0, 0.0]])
    assert float(distillation(student, teacher, 3.0)) == pytest.approx(0.448463, abs=1e-6)
    assert float(distillation(student, teacher, 3.0)) / 9 == pytest.approx(0.049829, abs=1e-6)
    assert float(distillation(teacher, teacher, 2.0)) == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("net", NETS)
def test_lwf_is_zero_at_the_start_as_student_and_teacher_are_one(net: str, tmp_path: Path) -> None:
    assert float(penalty(*started(net, tmp_path, LwF()))) == pytest.approx(0, abs=1e-6)


def test_the_fisher_information_squares_before_it_averages() -> None:
    class Signed(nn.Module):
        """Logits whose loss has the gradient ±1, ±2 at w = 0 (times ½: p = ½ for two classes)."""

        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([x * self.w, -x * self.w], dim=1)

    images = torch.tensor([[1.0], [1.0], [2.0], [2.0]])
    (found,) = fisher(Signed(), ["w"], images, torch.tensor([1, 0, 1, 0]))  # gradients 1, −1, 2, −2
    assert float(found) == pytest.approx(2.5)


@pytest.mark.parametrize("net", NETS)
def test_ewc_with_equal_importance_is_half_the_squared_distance(net: str, tmp_path: Path) -> None:
    strategy, target = started(net, tmp_path, EWC(strength=0.6, images=4))
    assert float(penalty(strategy, target)) == 0
    anchored = target.notes["EWC"]
    anchored.importance[:] = [torch.ones_like(part) for part in anchored.importance]
    moved = [torch.randn_like(part) * 0.1 for part in anchored.parameters]
    with torch.no_grad():
        for parameter, step in zip(anchored.parameters, moved, strict=True):
            parameter.add_(step)
    expected = 0.6 / 2 * sum(float((step.double() ** 2).sum()) for step in moved)
    assert float(penalty(strategy, target)) == pytest.approx(expected, rel=1e-4)
    assert not any(parameter is p for p in target.classifier().parameters() for parameter in anchored.parameters)


def test_the_relationship_is_the_mean_answer_of_each_class_and_uniform_without_one() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    rows = relationship(probabilities, torch.tensor([0, 0, 2]), classes=3)
    torch.testing.assert_close(rows, torch.tensor([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]]))
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("net", NETS)
def test_co_tuning_is_the_cross_entropy_of_the_source_head(net: str, tmp_path: Path) -> None:
    strategy, target = started(net, tmp_path, CoTuning(strength=2.0))
    found = float(penalty(strategy, target))
    assert target.source is not None
    with torch.no_grad():
        answers = softmax(target.source.reference()(IMAGES).double().numpy())
    wanted = target.notes["CoTuning"][LABELS].double().numpy()
    assert found == pytest.approx(2.0 * -(wanted * np.log(answers)).sum(axis=1).mean(), rel=1e-5)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("attention", ["uniform", "channel"])
def test_delta_is_zero_at_the_start_and_its_attention_sums_to_one(net: str, attention: str, tmp_path: Path) -> None:
    strategy, target = started(net, tmp_path, Delta(alpha=1.0, beta=0.0, attention=attention))  # type: ignore[arg-type]
    assert float(penalty(strategy, target)) == 0
    for weights in target.notes["Delta"].weights:
        assert float(weights.sum()) == pytest.approx(1, abs=1e-5)
        assert (weights > 0).all()
    spread = [float(weights.std()) for weights in target.notes["Delta"].weights]
    assert (max(spread) > 0) == (attention == "channel")


@pytest.mark.parametrize("net", NETS)
def test_delta_is_the_mean_squared_difference_of_the_maps(net: str, tmp_path: Path) -> None:
    strategy, target = started(net, tmp_path, Delta(alpha=0.5, beta=0.25))
    known = target.notes["Delta"]
    with torch.no_grad():
        for name, parameter in target.model.named_parameters():
            if name not in target.head:
                parameter.add_(torch.randn_like(parameter) * 0.02)
        before = [part.clone() for part in known.maps(IMAGES)]
        target.model(IMAGES)
    expected = 0.25 * float(target.classifier().weight.detach().double().square().sum())
    for now, then in zip(target.taps.maps, before, strict=True):
        expected += 0.5 * float((now.detach().double() - then.double()).square().mean())
    assert float(penalty(strategy, target)) == pytest.approx(expected, rel=1e-4)


def test_maps_and_tokens_are_brought_to_one_form() -> None:
    assert channels_last(torch.zeros(2, 5, 3, 4), 5).shape == (2, 12, 5)
    assert channels_last(torch.zeros(2, 7, 5), 5).shape == (2, 7, 5)
    assert channels_last(torch.zeros(2, 3, 4, 5), 5).shape == (2, 12, 5)


@pytest.mark.parametrize("net", NETS)
def test_joint_adds_the_sources_loss_and_weighs_the_targets(net: str, tmp_path: Path) -> None:
    strategy, target = started(net, tmp_path, Joint(source_weight=3.0, target_weight=0.5, images=24))
    assert target.source is not None and target.source.images is not None
    chosen = torch.randint(len(target.source.images), (6,), generator=torch.Generator().manual_seed(0))
    run = target.notes["Joint"]
    with torch.no_grad():
        source = target.source.reference()(run.normalise(target.source.images.images[chosen]))
        source_loss = nn.functional.cross_entropy(source, target.source.images.labels[chosen])
        target_loss = nn.functional.cross_entropy(target.model(IMAGES), LABELS)
    assert float(penalty(strategy, target)) == pytest.approx(float(3 * source_loss - 0.5 * target_loss), rel=1e-4)


def test_joint_scales_the_targets_loss_as_the_loop_weighs_and_smooths_it(tmp_path: Path) -> None:
    strategy, target = started("test_resnet", tmp_path, Joint(source_weight=0.0, target_weight=0.5, images=24))
    told = {"weight": torch.tensor([5.0, 0.1, 0.2]), "label_smoothing": 0.1}
    with torch.no_grad():
        loss = nn.functional.cross_entropy(target.model(IMAGES), LABELS, **told)
    assert torch.equal(penalty(strategy, target, **told), -0.5 * loss)


def test_the_loop_hands_its_own_loss_to_every_step(tmp_path: Path) -> None:
    steps: list[Step] = []

    class Watching:
        @hookimpl
        def gradients_ready(self, step: Step) -> None:
            steps.append(step)

    few = LabelledArrays(torch.randint(0, 255, (30, 1, 8, 8), dtype=torch.uint8), torch.tensor([0] * 26 + [1, 1, 2, 2]))
    train(job(tmp_path, Watching(), train=few, epochs=1, class_weights="balanced", label_smoothing=0.1))
    weights = class_weights("balanced", few.labels)
    assert steps
    for step in steps:
        expected = nn.functional.cross_entropy(step.logits, step.labels, weight=weights, label_smoothing=0.1)
        assert step.loss is not None and step.loss.grad_fn is not None
        assert torch.equal(step.loss.detach(), expected.detach())


def test_l1_and_l2_are_sums_over_matrices_and_kernels() -> None:
    model = tiny_net(seed=1)
    target = TargetModel(model, head_tensors(model), frozenset())
    weights = np.concatenate([p.detach().double().numpy().ravel() for p in model.parameters() if p.ndim > 1])
    assert float(L1(0.3).penalty(target).detach()) == pytest.approx(0.3 * np.abs(weights).sum(), rel=1e-5)
    assert float(L2(0.3).penalty(target).detach()) == pytest.approx(0.15 * (weights**2).sum(), rel=1e-5)


def test_a_model_that_tells_no_stages_is_refused() -> None:
    model = tiny_net()
    with pytest.raises(SettingsError, match="doesn't tell where its stages are"):
        Strategy("tiny", [Delta()]).prepare_model(TargetModel(model, head_tensors(model), frozenset()))


def test_stages_are_at_most_four_and_the_last_is_among_them() -> None:
    model = build_net("test_vit", ("a", "b"), seed=0)
    target = TargetModel(model, head_tensors(model), frozenset())
    target.taps.watch_stages(model)
    model(torch.zeros(1, 1, 32, 32))
    assert 1 < len(target.taps.maps) <= 4
    torch.testing.assert_close(model.norm(target.taps.maps[-1]), model.forward_features(torch.zeros(1, 1, 32, 32)))  # type: ignore[operator]
