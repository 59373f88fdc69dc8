"""What must be kept of a model is what the source's weights can't give again."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from graftwork.cost import cost, stored_bytes
from graftwork.cost_plot import Point, cost_svg, undominated
from graftwork.evidence import Interval
from graftwork.hookspecs import hookimpl
from graftwork.manifest import Manifest, match, with_trainable
from graftwork.models import head_tensors
from graftwork.source import SourceModel
from graftwork.strategy import Strategy, TargetModel
from graftwork.verdicts import size
from graftwork_plugins.strategies.full_copy import FullCopy
from graftwork_plugins.strategies.lora import LoRA
from tests.core.tiny import TinyNet, graft, tiny_net

SOURCE = tiny_net(seed=1).state_dict()
HEAD_BYTES = 4 * (3 * 96 + 3)


def manifest(*plugins: object) -> tuple[dict[str, Any], TinyNet]:
    """Return what a transfer to a fresh net writes, and the net with the transferred weights."""
    strategy, source, model = Strategy("tiny", plugins), tiny_net(seed=1), tiny_net(seed=0)
    chosen = strategy.choose_weights(SourceModel(source.state_dict(), head_tensors(source)))
    _, fates = match(chosen, model.state_dict(), source.state_dict())
    target = graft(strategy, source, model)
    return Manifest("tiny", with_trainable(fates, target.model), 1.0).as_json(), model


def delivered(model: TinyNet) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def whole(tensors: dict[str, torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def test_a_frozen_trunk_is_not_stored_again() -> None:
    told, model = manifest(FullCopy())
    found = cost(told, delivered(model), SOURCE)
    assert found.stored_bytes == HEAD_BYTES
    assert found.whole_bytes == whole(delivered(model))


def test_one_changed_bit_makes_a_tensor_count_whole() -> None:
    told, model = manifest(FullCopy())
    tensors = delivered(model)
    tensors["stem.weight"].view(-1)[0] *= -1
    assert stored_bytes(told, tensors, SOURCE) == HEAD_BYTES + 4 * 6 * 9
    tensors = delivered(model)
    source = {**SOURCE, "norm.bias": torch.zeros(6)}
    tensors["norm.bias"] = -torch.zeros(6)  # equal in value, not to the bit
    assert stored_bytes(told, tensors, source) == HEAD_BYTES + 4 * 6


def test_scratch_is_stored_whole_even_where_a_value_is_the_sources() -> None:
    told, model = manifest()
    tensors = delivered(model)
    assert torch.equal(tensors["norm.num_batches_tracked"], SOURCE["norm.num_batches_tracked"])
    assert stored_bytes(told, tensors, SOURCE) == whole(tensors)


@pytest.mark.parametrize("rank", [1, 8])
def test_a_merged_adapter_takes_its_own_bytes_or_its_tensors_whichever_is_less(rank: int) -> None:
    told, model = manifest(FullCopy(), LoRA(rank=rank))
    adapters = [fate for fate in told["tensors"] if fate["why"] == "an adapter"]
    values = sum(torch.Size(fate["shape"]).numel() for fate in adapters)
    merged = tiny_net(seed=0).state_dict() | {n: t.clone() for n, t in SOURCE.items() if not n.startswith("head.")}
    merged["stem.weight"] += 0.1
    assert adapters and model is not None
    found = cost(told, merged, SOURCE)
    assert found.stored_bytes == HEAD_BYTES + 4 * min(values, 6 * 9)
    assert found.trainable_parameters == values + 3 * 96 + 3
    assert found.trainable_share == found.trainable_parameters / found.parameters


def test_a_tensor_that_trains_beside_its_adapter_counts_whole() -> None:
    class Thaw:
        @hookimpl
        def prepare_model(self, target: TargetModel) -> None:
            for parameter in target.model.parameters():
                parameter.requires_grad_(True)

    told, _ = manifest(FullCopy(), LoRA(rank=1), Thaw())
    changed = {name: tensor + 1 for name, tensor in tiny_net(seed=0).state_dict().items()}
    assert stored_bytes(told, changed, SOURCE) == whole(changed)


def point(name: str, spent: float, accuracy: float) -> Point:
    return Point(name, spent, Interval(accuracy, accuracy - 0.01, accuracy + 0.01))


def test_what_another_beats_in_one_and_equals_in_the_other_is_dominated() -> None:
    points = [point("dear", 3, 0.9), point("twin", 1, 0.7), point("cheap", 1, 0.7), point("best", 2, 0.9)]
    assert [one.name for one in undominated([*points, point("bad", 2, 0.6)])] == ["cheap", "twin", "best"]
    assert undominated([]) == []


@pytest.mark.parametrize("costs", [(1, 2, 3), (1, 100, 10_000), (5, 5, 5), (0, 10, 100)])
def test_the_plot_names_the_best_at_any_costs(costs: tuple[float, ...]) -> None:
    points = [
        point(name, spent, 0.5 + 0.1 * place) for place, (name, spent) in enumerate(zip("abc", costs, strict=True))
    ]
    drawing = cost_svg(points, "stored", lambda value: size(round(value)))
    label = drawing.partition(">")[0]
    assert f"c 70.0 % at {size(round(costs[2]))}" in label
    assert cost_svg(points, "stored", lambda value: size(round(value))) == drawing


def test_sizes_are_told_in_decimal_units() -> None:
    told = [size(count) for count in (0, 7, 999, 1000, 1940, 999_600, 1_499_980, 2 * 10**9)]
    assert told == ["0 bytes", "7 bytes", "999 bytes", "1 kB", "1.94 kB", "1 MB", "1.5 MB", "2 GB"]
