"""A web server and a desk for plugins that fetch."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.desk import Desk
from graftwork.progress import Quiet


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "mirror").mkdir()
    return Desk(tmp_path / "mirror", tmp_path / "partial", Quiet())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "origins" / "x"
    folder.mkdir(parents=True)
    return folder
