"""The catalogue holds every bundled strategy plugin, and its stacks can be trained."""

from __future__ import annotations

import json

from graftwork.registry import load_plugins
from graftwork.rehearsal import rehearse
from graftwork.settings import Settings
from graftwork.yaml_source import read_yaml
from tests.conftest import ROOT


def catalogue() -> Settings:
    """Return this workspace's settings with the catalogue's strategies."""
    values = read_yaml(ROOT / "params.yaml").values | read_yaml(ROOT / "examples" / "catalogue.yaml").values
    return Settings.model_validate_json(json.dumps(values, default=list))


def test_every_plugin_stands_in_the_catalogue() -> None:
    used = {use.name for stack in catalogue().strategies.values() for use in stack}
    bundled = {p.name for p in load_plugins().named("strategy") if p.package == "graftwork"}
    assert used == bundled - {"distill"}  # needs a source that knows the target's classes; there as a remark


def test_every_stack_of_the_catalogue_can_be_trained() -> None:
    rehearse(catalogue(), load_plugins(ROOT / "examples" / "strategies"))
