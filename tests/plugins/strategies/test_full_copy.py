"""A full copy takes everything but the head, to the bit."""

from __future__ import annotations

import torch

from graftwork.manifest import match
from graftwork.models import head_tensors
from graftwork.source import SourceModel
from graftwork.strategy import Strategy
from graftwork_plugins.strategies.full_copy import FullCopy
from tests.core.tiny import different, graft, tiny_net


def test_nothing_is_dropped_but_the_head() -> None:
    source = tiny_net(3)
    chosen = FullCopy().choose_weights(SourceModel(source.state_dict(), head_tensors(source)), ())
    _, fates = match(chosen, tiny_net(5).state_dict(), source.state_dict())
    assert {fate.name for fate in fates if fate.kind == "dropped"} == head_tensors(source)
    assert {fate.name for fate in fates if fate.kind == "new"} == {"head.weight", "head.bias"}


def test_the_head_stays_the_targets_own() -> None:
    source, fresh, model = tiny_net(seed=1), tiny_net(seed=2), tiny_net(seed=2)
    graft(Strategy("tiny", [FullCopy()]), source, model)
    assert set(different(model.state_dict(), source.state_dict())) == {"head.weight", "head.bias"}
    assert torch.equal(model.head.weight, fresh.head.weight)


def test_with_equal_classes_and_the_head_the_logits_are_the_sources_to_the_bit() -> None:
    source, model = tiny_net(seed=1).eval(), tiny_net(seed=2).eval()
    graft(Strategy("tiny", [FullCopy(head="source")]), source, model)
    images = torch.randn(8, 1, 8, 8)
    assert torch.equal(model(images), source(images))


def test_a_head_of_another_size_stays_the_targets_own_even_when_asked_for() -> None:
    model = tiny_net(5)
    target = graft(Strategy("tiny", [FullCopy(head="source")]), tiny_net(3), model)
    assert target.transferred == set(model.state_dict()) - {"head.weight", "head.bias"}
