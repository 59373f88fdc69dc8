"""Files of torch.save are read without running anything in them."""

from __future__ import annotations

import os
import pickle
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from graftwork.errors import WeightsError
from graftwork_plugins.weights.torch import TorchFile
from tests.core.test_foreign import ODD, odd_tensor
from tests.core.tiny import tiny_net

STATE = tiny_net().state_dict()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "model.pth"


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_read_in_new_and_old_files(file: Path, zipped: bool) -> None:
    torch.save(STATE, file, _use_new_zipfile_serialization=zipped)
    found = TorchFile().read(file)
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in STATE.items())
    assert found.origin == {}


def test_a_checkpoint_of_a_training_is_read_and_its_entry_told(file: Path) -> None:
    optimizer = {"state": {0: {"momentum": torch.zeros(3)}}, "param_groups": [{"lr": 0.1}]}
    torch.save({"epoch": 3, "state_dict": STATE, "other": STATE, "optimizer": optimizer}, file)
    assert TorchFile().read(file).origin == {"entry": "state_dict"}
    assert TorchFile(key="other").read(file).origin == {"entry": "other"}
    with pytest.raises(WeightsError, match="holds epoch, state_dict, other, optimizer"):
        TorchFile(key="ema").read(file)


class Payload:
    """What touches a file when it is unpickled."""

    def __init__(self, owned: Path, way: Any) -> None:
        self.owned, self.way = owned, way

    def __reduce__(self) -> tuple[Any, ...]:
        return self.way, (f"touch {self.owned}",)


@pytest.mark.parametrize("way", [os.system, eval])
@pytest.mark.parametrize("how", ["zip", "legacy", "plain pickle"])
def test_code_in_a_file_is_refused_and_not_run(file: Path, tmp_path: Path, way: Any, how: str) -> None:
    owned = tmp_path / "owned"
    content = {"weight": torch.zeros(3), "extra": Payload(owned, way)}
    if how == "plain pickle":
        file.write_bytes(pickle.dumps(content["extra"]))
    else:
        torch.save(content, file, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(WeightsError) as raised:
        TorchFile().read(file)
    assert not owned.exists()
    assert re.search(rf"asks to run [\w.]*{way.__name__} when it is read, and was refused", raised.value.what)
    assert "safetensors" in raised.value.fix
    assert "weights_only" not in str(raised.value)  # torch's advice is to switch the protection off


def test_a_whole_model_is_refused_with_the_class_it_asks_for(file: Path) -> None:
    torch.save(nn.Linear(2, 2), file)
    with pytest.raises(WeightsError, match=r"torch\.nn\.modules\.linear\.Linear"):
        TorchFile().read(file)


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"\x80\x04N.", b"PK\x03\x04rest"])
def test_what_torch_did_not_write_is_refused(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(WeightsError):
        TorchFile().read(file)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(file: Path, share: float) -> None:
    torch.save(STATE, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(WeightsError, match="damaged") as raised:
        TorchFile().read(file)
    assert str(file) in raised.value.where


def test_a_file_of_the_old_format_is_refused_wherever_it_ends(file: Path) -> None:
    torch.save({"weight": torch.ones(2), "norm.count": torch.tensor(3)}, file, _use_new_zipfile_serialization=False)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(WeightsError, match="damaged"):
            TorchFile().read(file)


@pytest.mark.parametrize("kind", ODD)
def test_tensors_that_no_model_takes_are_refused_by_name(file: Path, kind: str) -> None:
    torch.save({"weight": torch.ones(2), "odd": odd_tensor(kind)}, file)
    with pytest.raises(WeightsError, match="can't be used: odd"):
        TorchFile().read(file)


def test_a_bomb_of_shared_bytes_is_refused(file: Path) -> None:
    torch.save({"bomb": torch.zeros(1).expand(10**10)}, file)
    with pytest.raises(WeightsError, match="claims tensors"):
        TorchFile().read(file)


def test_a_folder_is_read_with_its_config(file: Path) -> None:
    torch.save(STATE, file)
    file.with_name("config.json").write_text('{"label_names": ["a", "b"], "pretrained_cfg": {"mean": [0.1]}}')
    found = TorchFile().read(file.parent)
    assert (found.classes, found.mean, found.file) == (("a", "b"), (0.1,), file)
    assert (TorchFile().read(file).classes, TorchFile().read(file).mean) == (None, None)
