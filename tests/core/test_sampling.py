"""An epoch goes through all images, or through all classes equally often."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from graftwork.sampling import epoch_order


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_shuffled_is_torchs_permutation_to_the_bit() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    assert torch.equal(epoch_order("shuffled", labels, draws(3)), torch.randperm(100, generator=draws(3)))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=6), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_balanced_takes_classes_equally_often_and_of_a_class_each_image_give_or_take_one(
    counts: list[int], seed: int
) -> None:
    labels = torch.cat([torch.full((count,), 2 * label) for label, count in enumerate(counts)])  # numbers with gaps
    order = epoch_order("balanced", labels, draws(seed))
    assert len(order) == len(labels)
    taken = labels[order].bincount()[::2]
    assert len(taken) == len(counts) or sum(counts) < len(counts)
    assert taken.max() - taken.min() <= 1
    times = order.bincount(minlength=len(labels))
    for label in range(len(counts)):
        mine = times[labels == 2 * label]
        assert mine.max() - mine.min() <= 1


def test_balanced_is_decided_by_the_generator_and_mixes_the_classes() -> None:
    labels = torch.tensor([0] * 90 + [1] * 10)
    order = epoch_order("balanced", labels, draws(1))
    assert torch.equal(order, epoch_order("balanced", labels, draws(1)))
    assert not torch.equal(order, epoch_order("balanced", labels, draws(2)))
    for batch in labels[order].split(25):
        assert 3 <= int(batch.sum()) <= 22


def test_a_class_too_many_for_the_epoch_gets_its_turn_in_another() -> None:
    labels = torch.tensor([0, 1, 1, 1])  # 2 each
    firsts = {tuple(sorted(epoch_order("balanced", labels, draws(seed)).tolist())) for seed in range(20)}
    assert firsts == {(0, 0, 1, 2), (0, 0, 1, 3), (0, 0, 2, 3)}


@pytest.mark.parametrize("sampling", ["shuffled", "balanced"])
def test_no_image_is_left_out_for_ever(sampling: str) -> None:
    labels = torch.tensor([0] * 30 + [1] * 5)
    seen = {number for seed in range(20) for number in epoch_order(sampling, labels, draws(seed)).tolist()}  # type: ignore[arg-type]
    assert seen == set(range(35))
