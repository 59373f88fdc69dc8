"""Mixed labels are shares of classes, and their loss is torch's where they are whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from graftwork.hookspecs import hookimpl
from graftwork.soft_labels import Blend, augmented, soft_cross_entropy, soft_labels
from graftwork.strategy import Step
from graftwork.training import train
from graftwork_plugins.augmentations import CutMix, Flip, MixUp
from tests.core.tiny import job

LABELS = torch.tensor([0, 1, 2, 2])
BLEND = Blend(torch.tensor([3, 2, 1, 0]), torch.tensor([0.25, 1.0, 0.5, 0.9]))


def test_labels_are_mixed_as_the_images_are() -> None:
    expected = [[0.25, 0, 0.75], [0, 1, 0], [0, 0.5, 0.5], [0.1, 0, 0.9]]
    torch.testing.assert_close(soft_labels(LABELS, [BLEND], 3), torch.tensor(expected))
    assert torch.equal(soft_labels(LABELS, [], 3), F.one_hot(LABELS, 3).float())


def test_two_blends_act_one_on_the_others_result() -> None:
    once = soft_labels(LABELS, [BLEND], 3)
    shares = BLEND.shares[:, None]
    torch.testing.assert_close(soft_labels(LABELS, [BLEND, BLEND], 3), shares * once + (1 - shares) * once.flip(0))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 2.0, 1.5])])
def test_the_loss_on_whole_labels_is_the_usual_one(weight: torch.Tensor | None, smoothing: float) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, LABELS, weight, label_smoothing=smoothing)
    torch.testing.assert_close(soft_cross_entropy(logits, soft_labels(LABELS, [], 3), weight, smoothing), expected)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_on_mixed_labels_is_the_shares_mean_of_both(smoothing: float) -> None:
    logits, weight = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5, 2.0, 1.5])
    own, other = (
        F.cross_entropy(logits, labels, weight, label_smoothing=smoothing, reduction="none")
        for labels in (LABELS, LABELS.flip(0))
    )
    total = BLEND.shares * own + (1 - BLEND.shares) * other
    weights = BLEND.shares * weight[LABELS] + (1 - BLEND.shares) * weight[LABELS.flip(0)]
    found = soft_cross_entropy(logits, soft_labels(LABELS, [BLEND], 3), weight, smoothing)
    torch.testing.assert_close(found, total.sum() / weights.sum())


def test_only_what_mixes_leaves_a_blend() -> None:
    images = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8)
    found, blends = augmented([Flip(), MixUp(), CutMix()], images, torch.Generator().manual_seed(0))
    assert found.shape == images.shape and len(blends) == 2
    assert augmented([], images, torch.Generator()) == (images, [])


@pytest.mark.parametrize("mixing", [MixUp(1.0), CutMix()])
def test_strategies_see_soft_labels_and_whole_ones_of_the_largest_share(mixing: MixUp | CutMix, tmp_path: Path) -> None:
    steps: list[Step] = []

    class Watching:
        @hookimpl
        def gradients_ready(self, step: Step) -> None:
            steps.append(step)

    trained = train(job(tmp_path, Watching(), augmentation=(Flip(), mixing), epochs=2, label_smoothing=0.1))
    assert trained.history[-1]["loss"] > 0
    for step in steps:
        assert step.soft_labels is not None and step.loss is not None
        torch.testing.assert_close(step.soft_labels.sum(dim=1), torch.ones(len(step.images)))
        assert torch.equal(step.labels, step.soft_labels.argmax(dim=1))
        expected = F.cross_entropy(step.logits, step.soft_labels, label_smoothing=0.1)
        torch.testing.assert_close(step.loss.detach(), expected.detach())
