"""A web server and a desk for plugins that fetch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from graftwork.desk import Desk
from graftwork.progress import Quiet
from tests.core.server import Server, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "GRAFTWORK_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as server:
        yield server


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    (tmp_path / "mirror").mkdir()
    return Desk(tmp_path / "mirror", tmp_path / "partial", Quiet())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "origins" / "x"
    folder.mkdir(parents=True)
    return folder
