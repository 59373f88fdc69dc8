"""What is added to gradients is added to those that train, in portions or not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from graftwork import gradients
from graftwork.gradients import add_to_gradients


@pytest.mark.parametrize("portion", [1, 5, 100])
def test_each_gets_its_own_term_and_what_is_frozen_none(monkeypatch: pytest.MonkeyPatch, portion: int) -> None:
    monkeypatch.setattr(gradients, "PORTION", portion)
    parameters = [torch.ones(2, n + 1, requires_grad=n != 2) for n in range(5)]
    parameters[0].grad = torch.full((2, 1), 7.0)
    calls: list[list[int]] = []

    def term(numbers: list[int]) -> list[Tensor]:
        calls.append(numbers)
        return [torch.full_like(parameters[number], float(number)) for number in numbers]

    add_to_gradients(parameters, term)
    assert [number for numbers in calls for number in numbers] == [0, 1, 3, 4]
    assert len(calls) == {1: 4, 5: 4, 100: 1}[portion]
    assert parameters[2].grad is None
    for number, was in [(0, 7.0), (1, 0.0), (3, 0.0), (4, 0.0)]:
        assert torch.equal(parameters[number].grad, torch.full((2, number + 1), was + number))


def test_nothing_that_trains_is_no_error() -> None:
    add_to_gradients([torch.ones(2)], lambda _: pytest.fail("there is nothing to add"))
