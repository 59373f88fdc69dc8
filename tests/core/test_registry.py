"""Plugins are found, or what is wrong with them is said with its place."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from graftwork import registry as registry_module
from graftwork.errors import PluginError
from graftwork.registry import load_plugins
from graftwork.settings import Use
from graftwork.strategy import build_strategy

HEAD = """
from dataclasses import dataclass
from graftwork.hookspecs import hookimpl
"""
BODY = """
@dataclass(frozen=True)
class Own:
    '''Freeze nothing.'''
    strength: float = 1.0
    @hookimpl
    def {hook}(self, {argument}):
        pass
"""
REGISTER = """
@hookimpl
def register_plugins(register):
    register.strategy("{name}", Own)
"""


def plugin(hook: str = "prepare_model", argument: str = "target", name: str = "own") -> str:
    return HEAD + BODY.format(hook=hook, argument=argument) + REGISTER.format(name=name)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Write a local plugin file."""

    def write(text: str, name: str = "own_strategy.py") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path: Path) -> PluginError:
    with pytest.raises(PluginError) as raised:
        load_plugins(path)
    return raised.value


def test_the_bundled_plugins_come_through_the_entry_point() -> None:
    registry = load_plugins()
    assert registry.failures == {}
    bundled = {(p.kind, p.name) for p in registry.plugins.values() if p.package == "graftwork"}
    assert {("strategy", "l2_sp"), ("dataset", "npz"), ("model", "timm"), ("augmentation", "flip")} <= bundled


def test_every_bundled_plugin_says_in_a_line_what_it_is() -> None:
    assert [p.name for p in load_plugins().plugins.values() if not p.summary.endswith((".", ";"))] == []


def test_a_strategy_in_a_local_file_is_found_and_takes_settings(written: Callable[..., Path]) -> None:
    registry = load_plugins(written(plugin()))
    found = registry.plugins["strategy", "own"]
    assert (found.origin, found.package, found.summary) == ("local file own_strategy.py", None, "Freeze nothing.")
    assert registry.create("strategy", Use.model_validate({"own": {"strength": 2}})).strength == 2.0
    build_strategy("mine", [Use.model_validate("own")], registry)


def test_a_folder_gives_all_its_files_but_those_with_an_underscore(written: Callable[..., Path]) -> None:
    written(plugin(name="one"), "b.py")
    written(plugin(name="two"), "a.py")
    folder = written("raise RuntimeError", "_private.py").parent
    assert {"one", "two"} <= {p.name for p in load_plugins(folder).named("strategy")}


def test_a_name_that_is_taken_is_refused_and_both_owners_are_named(written: Callable[..., Path]) -> None:
    error = refusal(written(plugin(name="l2_sp")))
    assert "'l2_sp' is registered twice: by graftwork" in error.what
    assert "by local file own_strategy.py" in error.what


def test_a_misspelt_hook_is_refused_by_name(written: Callable[..., Path]) -> None:
    assert "prepare_modle" in refusal(written(plugin(hook="prepare_modle"))).what


def test_a_hook_with_an_argument_it_does_not_have_is_refused(written: Callable[..., Path]) -> None:
    assert "modle" in refusal(written(plugin(argument="modle"))).what


def test_a_strategy_without_a_hook_is_refused(written: Callable[..., Path]) -> None:
    text = plugin().replace("    @hookimpl\n    def prepare", "    def prepare")
    assert "'own' implements no hook" in refusal(written(text)).what


def test_a_plugin_that_is_no_dataclass_is_refused(written: Callable[..., Path]) -> None:
    error = refusal(written(plugin().replace("@dataclass(frozen=True)\n", "")))
    assert "isn't a dataclass" in error.what
    assert "@dataclass(frozen=True)" in error.fix


def test_a_local_file_that_registers_nothing_is_refused(written: Callable[..., Path]) -> None:
    assert "registers no plugin" in refusal(written("x = 1\n")).what


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("1 / 0", "division by zero"),
        ("def", "invalid syntax"),
    ],
)
def test_a_local_file_that_breaks_says_where(written: Callable[..., Path], line: str, words: str) -> None:
    path = written(f"x = 1\n\n{line}\n")
    error = refusal(path)
    assert words in error.what
    assert error.where == f"{path}, line 3"


def test_a_missing_local_path_is_refused(tmp_path: Path) -> None:
    assert "not there" in refusal(tmp_path / "missing").what


def broken_entry_points(group: str) -> list[EntryPoint]:
    return [
        EntryPoint("broken", "no_such_module_at_all", group),
        EntryPoint("graftwork_plugins", "graftwork_plugins", group),
    ]


def test_a_broken_package_harms_nobody_until_its_plugin_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_module, "entry_points", broken_entry_points)
    registry = load_plugins()
    assert list(registry.failures) == ["no_such_module_at_all"]
    assert registry.create("strategy", Use.model_validate("l2_sp")).alpha == 0.1
    with pytest.raises(PluginError, match="no_such_module_at_all: ModuleNotFoundError"):
        registry.create("strategy", Use.model_validate("theirs"))


def test_of_a_package_that_fails_half_way_nothing_stays(
    monkeypatch: pytest.MonkeyPatch, written: Callable[..., Path]
) -> None:
    path = written(plugin(name="first") + '    register.strategy("l2_sp", Own)\n', "half_way_plugins.py")
    monkeypatch.syspath_prepend(str(path.parent))
    points = [EntryPoint("graftwork_plugins", "graftwork_plugins", "graftwork")]
    points.append(EntryPoint("half", "half_way_plugins", "graftwork"))
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points)
    registry = load_plugins()
    assert "registered twice" in registry.failures["half_way_plugins"]
    assert ("strategy", "first") not in registry.plugins


def test_an_unknown_name_comes_with_the_nearest_and_all_the_others() -> None:
    with pytest.raises(PluginError) as raised:
        load_plugins().create("strategy", Use.model_validate("l2sp"))
    assert raised.value.fix == "Did you mean l2_sp?"
    assert "freeze, full_copy, gradual_unfreeze" in raised.value.expected
