"""Balanced weights let every class count the same, and keep the loss's scale."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from graftwork.class_weights import class_weights

LABELS = torch.tensor([0] * 12 + [1] * 3 + [3] * 1)


def test_without_weights_there_are_none() -> None:
    assert class_weights("none", LABELS) is None


def test_they_are_images_over_classes_times_the_classs_own_and_their_mean_over_the_images_is_one() -> None:
    found = class_weights("balanced", LABELS)
    assert found is not None and found.dtype == torch.float32
    assert found.tolist() == pytest.approx([16 / (3 * 12), 16 / (3 * 3), 0.0, 16 / 3])
    assert float(found[LABELS].mean()) == pytest.approx(1.0)


def test_equal_classes_weigh_one_to_the_bit() -> None:
    assert torch.equal(class_weights("balanced", torch.arange(30) % 3), torch.ones(3))  # type: ignore[arg-type]


def test_each_class_has_the_same_share_of_the_loss() -> None:
    labels = torch.tensor([0] * 12 + [1] * 3 + [2] * 1)
    weights = class_weights("balanced", labels)
    logits = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    whole = F.cross_entropy(logits, labels, weight=weights)
    means = torch.stack([F.cross_entropy(logits[labels == label], labels[labels == label]) for label in range(3)])
    assert float(whole) == pytest.approx(float(means.mean()), rel=1e-5)
