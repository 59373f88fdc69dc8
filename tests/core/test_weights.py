"""Weight files come back as they were, or are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from graftwork.errors import StateError, WeightsError
from graftwork.tensors import storable
from graftwork.weights import load_weights, save_weights
from tests.core.tiny import CONTRACT

TENSORS = {
    "kernel": torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)),
    "half": torch.arange(6, dtype=torch.bfloat16).view(2, 3),
    "count": torch.tensor(7),
    "mask": torch.tensor([True, False]),
    "none": torch.zeros(0, 3),
}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_weights(path, TENSORS, CONTRACT)
    return path


def test_tensors_and_contract_come_back_as_they_were(saved: Path) -> None:
    tensors, contract = load_weights(saved)
    assert contract == CONTRACT
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype and torch.equal(tensors[name], tensor)


def test_no_tensors_at_all_can_be_saved(tmp_path: Path) -> None:
    save_weights(tmp_path / "file", {}, CONTRACT)
    assert load_weights(tmp_path / "file") == ({}, CONTRACT)


def test_equal_content_is_equal_bytes_in_any_order_and_memory_format(saved: Path, tmp_path: Path) -> None:
    turned = dict(reversed(TENSORS.items()))
    turned["kernel"] = turned["kernel"].contiguous(memory_format=torch.channels_last)
    save_weights(tmp_path / "again", turned, CONTRACT)
    assert (tmp_path / "again").read_bytes() == saved.read_bytes()


def test_views_of_one_tensor_are_saved_each_for_itself(tmp_path: Path) -> None:
    whole = torch.arange(6.0)
    save_weights(tmp_path / "file", {"first": whole[:3], "second": whole[3:], "all": whole}, CONTRACT)
    tensors, _ = load_weights(tmp_path / "file")
    assert torch.equal(torch.cat([tensors["first"], tensors["second"]]), tensors["all"])


def test_a_flipped_bit_in_any_of_the_last_bytes_is_noticed(saved: Path) -> None:
    whole = saved.read_bytes()
    values = sum(t.nbytes for t in TENSORS.values())
    for place in range(len(whole) - values, len(whole), 17):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        saved.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged"):
            load_weights(saved)


def test_a_truncated_file_is_refused_wherever_it_ends(saved: Path) -> None:
    whole = saved.read_bytes()
    for length in (0, 4, 8, 100, len(whole) // 2, len(whole) - 1):
        saved.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="damaged") as raised:
            load_weights(saved)
        assert str(saved) in raised.value.where


def test_a_file_with_something_behind_its_end_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes() + b"\0")
    with pytest.raises(WeightsError):
        load_weights(saved)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_nan_and_infinity_are_refused_by_name(tmp_path: Path, value: float) -> None:
    bad: Tensor = torch.zeros(3, 3)
    bad[1, 2] = value
    save_weights(tmp_path / "file", {"good": torch.zeros(3), "bad.weight": bad}, CONTRACT)
    with pytest.raises(WeightsError, match=r"tensor bad\.weight holds NaN or infinity"):
        load_weights(tmp_path / "file")


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}, {"graftwork": "{"}, {"graftwork": "{}"}])
def test_a_strangers_file_carries_no_contract(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(3)}, path, metadata=metadata)
    with pytest.raises(WeightsError, match="no input contract"):
        load_weights(path)


def test_a_pickle_is_refused_without_being_opened(tmp_path: Path) -> None:
    path = tmp_path / "pickled.safetensors"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="damaged"):
        load_weights(path)


def test_missing_weights_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="graftwork run"):
        load_weights(tmp_path / "file")


def test_only_what_shares_memory_is_copied_on_its_way_to_a_file() -> None:
    whole = torch.arange(12.0)
    stored = storable({"whole": whole, "tied": whole, "part": whole[:3], "turned": whole.view(3, 4).T})
    assert stored["whole"].data_ptr() == whole.data_ptr()
    assert len({tensor.data_ptr() for tensor in stored.values()}) == 4
    assert all(tensor.is_contiguous() for tensor in stored.values()) and torch.equal(stored["tied"], whole)
