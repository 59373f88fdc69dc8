"""Tensors put aside come back to the bit, leave no file, and a full disk is told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from graftwork.aside import Aside
from graftwork.errors import DiskFullError
from tests.core import tiny
from tests.core.test_disk import most_bytes


def test_tensors_come_back_as_they_were_however_they_have_moved_and_no_file_is_seen(tmp_path: Path) -> None:
    net = tiny.tiny_net(seed=1)
    before = tiny.copied(net)
    aside = Aside({"model": net.state_dict(), "extra": {}}, tmp_path / "not yet there")
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(torch.nan)
    once, again = aside.read(), aside.read()
    once["model"]["head.weight"].zero_()
    assert not tiny.different(before, again["model"]) and again["extra"] == {}
    assert not list((tmp_path / "not yet there").iterdir())


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    with most_bytes(100_000), pytest.raises(DiskFullError):
        Aside({"model": {"weight": torch.ones(100_000)}}, tmp_path)
