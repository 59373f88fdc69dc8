"""The sweep's stage graph, which stands beside dvc.yaml so that a sweep runs only when asked for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from graftwork.files import write_text
from graftwork.params_file import load_settings, sweep_of
from graftwork.workspace import PARAMS
from graftwork_flows.pipeline import SWEEP

GOALS = ("cells", "sweep")


def write_graph(root: Path) -> None:
    """Put sweep/dvc.yaml there where it is missing. Raises SettingsError for a sweep that can't be."""
    sweep_of(load_settings(root / PARAMS))
    if not (root / SWEEP).exists():
        write_text(root / SWEEP, (files("graftwork_flows") / "templates" / "sweep.yaml.template").read_text("utf-8"))
