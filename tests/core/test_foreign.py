"""Tensors are found in the nests of training scripts, and come out dense, on the CPU and in float32."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from graftwork.errors import WeightsError
from graftwork.files import sha256_of_file
from graftwork.foreign import plain, unwrap, verified

STATE = {"weight": torch.zeros(2), "bias": torch.ones(2)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"\0" * 2000)
    return path


@pytest.mark.parametrize(
    ("found", "key", "place"),
    [
        (STATE, None, ""),
        ({"state_dict": STATE, "epoch": 3}, None, "state_dict"),
        ({"model_state_dict": STATE, "optimizer": {"state": {}}}, None, "model_state_dict"),
        ({"model": STATE, "model_ema": STATE}, None, "model_ema"),
        ({"model": {"state_dict": STATE}}, None, "model.state_dict"),
        ({"model": STATE, "mine": {"deep": STATE}}, "mine.deep", "mine.deep"),
        ({**STATE, "version": 2, "model": {"other": STATE}}, None, ""),
    ],
)
def test_tensors_are_found_where_scripts_put_them(found: Any, key: str | None, place: str) -> None:
    tensors, where = unwrap(found, key, "here")
    assert (tensors.keys(), where) == (STATE.keys(), place)


@pytest.mark.parametrize(
    ("found", "key", "words"),
    [
        ({"weights_of": STATE, "epoch": 3}, None, "holds weights_of, epoch"),
        ({"model": STATE}, "modle", "holds model"),
        ([1, 2], None, "is a list"),
        ({"model": {"model": {"model": {"model": {"model": STATE}}}}}, None, "No tensors"),
    ],
)
def test_where_no_tensors_are_found_it_is_told_what_is_there(found: Any, key: str | None, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        unwrap(found, key, "here")


def test_halves_and_doubles_become_float32_and_counters_stay(file: Path) -> None:
    values = {"half": torch.ones(2).half(), "brain": torch.ones(2).bfloat16(), "double": torch.ones(2).double()}
    found = plain({**values, "count": torch.tensor(3)}, file)
    assert [t.dtype for t in found.values()] == [torch.float32] * 3 + [torch.int64]


def test_a_small_file_that_claims_gigabytes_is_refused(file: Path) -> None:
    with pytest.raises(WeightsError, match="2,000 bytes claims tensors of 4,000,000,000 bytes"):
        plain({"bomb": torch.zeros(1).expand(10**9)}, file)


ODD = ("sparse", "complex", "meta", "nested")


def odd_tensor(kind: str) -> torch.Tensor:
    """Return a tensor that no model's state dict holds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested ones are a prototype
        if kind == "nested":
            return torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    if kind == "sparse":
        return torch.eye(3).to_sparse()
    return torch.zeros(3, dtype=torch.complex64) if kind == "complex" else torch.empty(3, device="meta")


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_no_model_takes_are_refused(kind: str, file: Path) -> None:
    with pytest.raises(WeightsError, match="can't be used: odd"):
        plain({"odd": odd_tensor(kind)}, file)


def test_a_file_is_compared_with_the_beginning_of_its_sha256(file: Path) -> None:
    whole = sha256_of_file(file)
    assert verified(file, whole[:8].upper()) == verified(file) == whole
    with pytest.raises(WeightsError, match=f"sha256 {whole[:12]}"):
        verified(file, "0badf00d")


def test_a_missing_file_is_told_from_a_folder(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is missing"):
        verified(tmp_path / "none")
    with pytest.raises(WeightsError, match="is a folder"):
        verified(tmp_path)
