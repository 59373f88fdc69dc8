"""Core and plugins know neither Prefect nor DVC, and importing the command's edge is light."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import pytest

import graftwork
import graftwork_plugins

IMPORT = """
import importlib, json, sys
for name in {names}:
    importlib.import_module(name)
print(json.dumps(list(sys.modules)))
"""


def modules_of(package: str) -> list[str]:
    found = sys.modules[package]
    return [package, *(m.name for m in pkgutil.walk_packages(found.__path__, f"{package}."))]


def loaded_after(names: list[str]) -> set[str]:
    """Return the top-level modules that a fresh interpreter holds after these imports."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT.format(names=names)], capture_output=True, text=True, check=True, timeout=120
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def everything() -> set[str]:
    assert graftwork.__name__ and graftwork_plugins.__name__
    return loaded_after(modules_of("graftwork") + modules_of("graftwork_plugins"))


def test_the_walk_finds_the_stages_and_the_plugins() -> None:
    assert "graftwork.stages.finetune" in modules_of("graftwork")
    assert "graftwork_plugins.strategies.l2_sp" in modules_of("graftwork_plugins")


@pytest.mark.parametrize("stranger", ["prefect", "dvc", "graftwork_flows", "typer"])
def test_core_and_plugins_do_not_import(everything: set[str], stranger: str) -> None:
    assert "torch" in everything  # so that this looks at a real import
    assert stranger not in everything


def test_settings_are_read_without_torch() -> None:
    light = loaded_after(["graftwork.settings", "graftwork.errors", "graftwork.params_file", "graftwork.layout"])
    assert not light & {"torch", "timm", "scipy", "matplotlib", "prefect", "dvc"}
