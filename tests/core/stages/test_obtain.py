"""What is obtained lies in its folder whole, with a record beside it that takes no other file's place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from graftwork.desk import Desk
from graftwork.errors import DataError
from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.registry import Registry
from graftwork.stages import Context
from tests.core.tiny_workspace import run, tiny_settings


@dataclass(frozen=True)
class Written:
    """A file of some name."""

    file: str

    def obtain(self, folder: Path, desk: Desk) -> dict[str, Any]:
        (folder / self.file).parent.mkdir(exist_ok=True)
        (folder / self.file).write_text("the user's own")
        return {"file": self.file}


def obtained(root: Path, file: str) -> Path:
    registry = Registry()
    registry.origin("written", Written)
    settings = tiny_settings(origins={"mine": {"written": {"file": file}}})
    context = Context(settings, registry, Layout(root), Quiet())
    run(context, ("obtain", "mine"))
    return context.layout.origin("mine")


@pytest.mark.parametrize("file", ["a.txt", "deeper/origin.json"])
def test_a_record_stands_beside_the_files(file: str, tmp_path: Path) -> None:
    folder = obtained(tmp_path, file)
    assert (folder / file).read_text() == "the user's own"
    assert read_json(folder / "origin.json") == {"origin": "written", "file": file}


@pytest.mark.parametrize("file", ["origin.json", ".dvcignore", "deeper/.dvcignore"])
def test_files_whose_names_mean_something_there_are_refused_and_nothing_is_kept(file: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"holds {file}, and that name means"):
        obtained(tmp_path, file)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
