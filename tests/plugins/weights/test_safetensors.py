"""Safetensors are read, anyone's and our own; damage is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from graftwork.errors import WeightsError
from graftwork.weights import save_weights
from graftwork_plugins.weights.safetensors import Safetensors
from tests.core.tiny import CONTRACT, tiny_net

STATE = tiny_net().state_dict()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}, path)
    return path


def test_a_strangers_halves_are_read_as_float32(file: Path) -> None:
    found = Safetensors().read(file)
    assert found.tensors.keys() == STATE.keys()
    assert found.tensors["stem.weight"].dtype == torch.float32
    assert torch.allclose(found.tensors["stem.weight"], STATE["stem.weight"], atol=1e-3)
    assert (found.classes, found.mean, found.architecture) == (None, None, None)


def test_our_own_contract_is_used(tmp_path: Path) -> None:
    save_weights(tmp_path / "own.safetensors", STATE, CONTRACT)
    found = Safetensors().read(tmp_path / "own.safetensors")
    assert (found.classes, found.mean, found.std, found.size) == (("a", "b", "c"), (0.5,), (0.25,), 8)
    assert torch.equal(found.tensors["head.bias"], STATE["head.bias"])


@pytest.mark.parametrize("damage", ["cut", "flipped", "NaN", "no contract"])
def test_nobody_is_told_to_remove_a_file_that_no_run_makes_anew(tmp_path: Path, damage: str) -> None:
    file = tmp_path / "own.safetensors"
    save_weights(file, {"weight": torch.full((3,), torch.nan if damage == "NaN" else 1.0)}, CONTRACT)
    whole = file.read_bytes()
    if damage == "no contract":
        save_file({"weight": torch.zeros(3)}, file, metadata={"graftwork": "{}"})
    elif damage != "NaN":
        file.write_bytes(whole[:-1] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError) as raised:
        Safetensors().read(file)
    assert raised.value.fix.startswith("fetch it anew")


def write_config(file: Path) -> None:
    config = {"architecture": "tiny", "num_classes": 2, "label_names": ["cat", "dog"], "pretrained_cfg": {
        "mean": [0.5], "std": [0.25], "input_size": [1, 8, 8], "license": "mit", "crop_pct": 0.9}}  # fmt: skip
    file.with_name("config.json").write_text(json.dumps(config))


def test_metadata_and_the_config_of_a_folder_are_told(file: Path) -> None:
    save_file(STATE, file, metadata={"format": "pt", "author": "x" * 9999})
    write_config(file)
    found = Safetensors().read(file.parent)
    assert (found.classes, found.mean, found.std, found.size) == (("cat", "dog"), (0.5,), (0.25,), 8)
    assert found.origin == {"architecture": "tiny", "licence": "mit", "format": "pt", "author": "x" * 500}
    assert found.file == file


def test_a_config_beside_a_single_file_is_not_read_as_its_changes_would_go_unnoticed(file: Path) -> None:
    write_config(file)
    found = Safetensors().read(file)
    assert (found.classes, found.mean, found.std, found.size, found.file) == (None, None, None, None, None)


def test_of_a_folder_with_our_own_contract_the_file_is_told(tmp_path: Path) -> None:
    save_weights(tmp_path / "own.safetensors", STATE, CONTRACT)
    write_config(tmp_path / "own.safetensors")
    found = Safetensors().read(tmp_path)
    assert (found.classes, found.file) == (("a", "b", "c"), tmp_path / "own.safetensors")


def test_a_folder_must_hold_exactly_one_file_of_the_kind(file: Path) -> None:
    for other in (".hidden.safetensors", "model.bin"):
        file.with_name(other).write_bytes(b"passed over")
    assert Safetensors().read(file.parent).file == file
    file.with_name("other.safetensors").write_bytes(b"")
    with pytest.raises(
        WeightsError, match=r"several files of weights: model\.safetensors, other\.safetensors"
    ) as raised:
        Safetensors().read(file.parent)
    assert "name the file itself" in raised.value.fix
    (file.parent / "empty").mkdir()
    with pytest.raises(WeightsError, match="holds no file of weights"):
        Safetensors().read(file.parent / "empty")


@pytest.mark.parametrize("text", ["{", "[]", '{"pretrained_cfg": {"mean": "half"}}'])
def test_a_config_that_cannot_be_read_is_refused(file: Path, text: str) -> None:
    file.with_name("config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json beside the weights"):
        Safetensors().read(file.parent)


@pytest.mark.parametrize("length", [0, 10, 1000, -1])
def test_a_truncated_file_is_refused(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(WeightsError, match="damaged") as raised:
        Safetensors().read(file)
    assert str(file) in raised.value.where


def test_a_flipped_bit_is_noticed_by_the_hash(file: Path) -> None:
    whole = Safetensors(sha256=None)
    damaged = bytearray(file.read_bytes())
    damaged[-5] ^= 1
    file.write_bytes(damaged)
    whole.read(file)
    with pytest.raises(WeightsError, match="has the sha256"):
        Safetensors(sha256="c4117a10").read(file)


def test_a_pickle_is_refused_and_the_right_reader_told(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="isn't safetensors") as raised:
        Safetensors().read(tmp_path / "x.safetensors")
    assert "weights: torch" in raised.value.fix
