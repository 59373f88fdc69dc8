"""Every tensor of foreign weights is accounted for, and what doesn't fit is accounted for in full."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import Tensor

from graftwork.accounts import fit
from graftwork.errors import MisfitError, WeightsError
from graftwork.models import head_tensors
from tests.core.tiny import TinyNet, tiny_net

MODEL = tiny_net(seed=1)
HEAD = head_tensors(MODEL)


def weights(**changes: Tensor | None) -> dict[str, Tensor]:
    """Return the tensors of another TinyNet, with some replaced, or left out for None."""
    whole = {**tiny_net(seed=2).state_dict(), **{name.replace("__", "."): t for name, t in changes.items()}}
    return {name: tensor for name, tensor in whole.items() if tensor is not None}


def test_equal_names_and_shapes_are_all_loaded() -> None:
    tensors, account = fit(weights(), MODEL, HEAD, "here")
    assert all(torch.equal(tensors[name], tensor) for name, tensor in weights().items())
    assert (account.loaded, account.missing, account.unexpected, account.coverage) == (9, (), (), 1.0)


def test_counters_may_be_missing() -> None:
    tensors, account = fit(weights(norm__num_batches_tracked=None), MODEL, HEAD, "here")
    assert torch.equal(tensors["norm.num_batches_tracked"], MODEL.norm.num_batches_tracked)
    assert account.summary() == "loaded 8 of 8 tensors, 1 counters and indices aside"


def test_counters_may_stand_there_in_vain() -> None:
    _, account = fit(weights(index=torch.arange(3)), MODEL, HEAD, "here")
    assert account.unexpected == ()


def test_a_head_may_be_missing_as_a_whole() -> None:
    tensors, account = fit(weights(head__weight=None, head__bias=None), MODEL, HEAD, "here")
    assert torch.equal(tensors["head.weight"], MODEL.head.weight)
    assert account.coverage == 1.0 and len(account.missing) == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"norm__bias": None}, r"loaded 8 of 9 tensors. missing: norm\.bias 6"),
        ({"head__bias": None}, r"missing: head\.bias 3"),
        ({"extra": torch.zeros(2, 3)}, "unexpected: extra 2×3"),
        ({"stem__weight": torch.zeros(6, 3, 3, 3)}, r"stem\.weight 6×3×3×3 in the file, 6×1×3×3 in the model"),
    ],
)
def test_what_does_not_fit_is_refused_and_told(changes: dict[str, Tensor | None], words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        fit(weights(**changes), MODEL, HEAD, "here")


def test_a_lower_minimum_lets_a_part_of_the_trunk_stay_as_it_is() -> None:
    tensors, account = fit(weights(norm__bias=None, extra=torch.zeros(2)), MODEL, HEAD, "here", minimum=0.9)
    assert torch.equal(tensors["norm.bias"], MODEL.norm.bias)
    assert account.coverage == pytest.approx(1 - 6 / 84)
    with pytest.raises(WeightsError, match=r"missing: norm\.bias 6"):
        fit(weights(norm__bias=None), MODEL, HEAD, "here", minimum=0.95)


def test_weights_of_another_architecture_name_a_few_and_account_for_all() -> None:
    names = [f"layer{number}.kernel" for number in range(40)]
    with pytest.raises(MisfitError, match="loaded 0 of 8 tensors") as raised:
        fit({name: torch.zeros(3) for name in names}, MODEL, HEAD, "here", minimum=0.1)
    assert "layer4.kernel 3 and 35 more" in raised.value.what and "layer5." not in raised.value.what
    told = " ".join(raised.value.account["missing"] + raised.value.account["unexpected"])
    assert all(name in told for name in (*names, "stem.weight", "head.bias"))


def test_the_account_survives_pickling() -> None:
    with pytest.raises(MisfitError) as raised:
        fit({"layer.kernel": torch.zeros(3)}, MODEL, HEAD, "here")
    again = pickle.loads(pickle.dumps(raised.value))
    assert str(again) == str(raised.value) and again.account == raised.value.account


def test_a_prefix_on_every_name_is_seen_and_the_rule_for_it_told() -> None:
    prefixed = {f"net.module.{name}": tensor for name, tensor in weights().items()}
    with pytest.raises(WeightsError) as raised:
        fit(prefixed, MODEL, HEAD, "here")
    assert raised.value.fix == r"rename: [{pattern: '^net\.module\.', to: ''}]"


def test_halves_become_what_the_model_has() -> None:
    model = TinyNet().double()
    assert fit(weights(), model, HEAD, "here")[0]["stem.weight"].dtype == torch.float64
