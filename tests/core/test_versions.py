"""The packages that decide the results are pinned in params.yaml, so that an upgrade runs the stages again."""

from __future__ import annotations

import dataclasses

import pytest

from graftwork.errors import SettingsError
from graftwork.params_file import load_settings
from graftwork.registry import load_plugins
from tests.conftest import ROOT

PARAMS = ROOT / "params.yaml"


def test_a_package_whose_plugin_is_used_must_stand_under_versions() -> None:
    registry = load_plugins()
    plugin = registry.plugins["strategy", "freeze"]
    registry.plugins["strategy", "freeze"] = dataclasses.replace(plugin, origin="elsewhere 2.0", package="elsewhere")
    with pytest.raises(SettingsError, match="`versions` says nothing") as caught:
        load_settings(PARAMS, registry)
    assert caught.value.fix == "add elsewhere: 2.0 under versions"


def test_another_installed_version_is_refused_with_both() -> None:
    with pytest.raises(SettingsError, match=r"for pluggy 0\.0, but \d") as caught:
        load_settings(PARAMS, overrides=["versions.pluggy='0.0'"])
    assert "every stage runs again" in caught.value.fix
