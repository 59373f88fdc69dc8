"""What `init` finds in a user's folder is not executed, unless the user's own settings say so."""

from __future__ import annotations

from pathlib import Path

import pytest

from graftwork.errors import PluginError
from graftwork.params_file import load_settings
from graftwork.registry import load_plugins
from graftwork_flows.initialise import initialise

TRADING = "from pathlib import Path\nPath(__file__).with_name('executed').touch()\nimport nothing_of_this_name\n"
OWN = """
from dataclasses import dataclass
from graftwork.hookspecs import hookimpl

@dataclass(frozen=True)
class Own:
    '''Do nothing.'''
    @hookimpl
    def prepare_model(self, target): ...

@hookimpl
def register_plugins(register):
    register.strategy("own_strategy", Own)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which DVC needn't be set up, which takes seconds."""
    (tmp_path / ".dvc").mkdir()
    return tmp_path


def local_plugins(folder: Path) -> str:
    """Return what params.yaml names, once it can be loaded."""
    named = load_settings(folder / "params.yaml").local_plugins
    load_settings(folder / "params.yaml", load_plugins(folder / named))
    return named


@pytest.mark.parametrize("recipe", [None, "keras_mlp"])
def test_a_folder_of_strategies_that_was_there_is_left_alone(
    recipe: str | None, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = folder / "strategies"
    there.mkdir()
    (there / "trading.py").write_text(TRADING)
    initialise(folder, recipe=recipe)
    assert [path.name for path in there.iterdir()] == ["trading.py"], "it was neither executed nor added to"
    assert local_plugins(folder) == "graftwork_strategies"
    assert "  graftwork_strategies/centre_logits.py " in capsys.readouterr().out
    assert '"centre_logits"' in (folder / "params.schema.json").read_text()


def test_a_file_of_that_name_is_left_alone(folder: Path) -> None:
    (folder / "strategies").write_text("to be read")
    initialise(folder)
    assert (folder / "strategies").read_text() == "to be read"
    assert local_plugins(folder) == "graftwork_strategies"


def test_what_earlier_settings_named_is_kept_and_loaded(folder: Path) -> None:
    initialise(folder)
    (folder / "strategies" / "own.py").write_text(OWN)
    initialise(folder, overwrite=True)
    assert local_plugins(folder) == "strategies"
    assert '"own_strategy"' in (folder / "params.schema.json").read_text()


def test_where_it_can_not_be_loaded_nothing_is_written(folder: Path) -> None:
    initialise(folder)
    (folder / "strategies" / "own.py").write_text("1 / 0")
    with pytest.raises(PluginError, match="ZeroDivisionError"):
        initialise(folder, overwrite=True)
    assert not list(folder.glob("*.old"))


def test_what_init_itself_left_is_used_again(folder: Path) -> None:
    initialise(folder)
    for name in ("params.yaml", "dvc.yaml", "prefect.yaml"):
        (folder / name).unlink()
    initialise(folder)
    assert local_plugins(folder) == "strategies"
