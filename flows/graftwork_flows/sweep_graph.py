"""The sweep's stage graph, which stands beside dvc.yaml so that a sweep runs only when asked for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from graftwork.errors import SettingsError
from graftwork.files import write_text
from graftwork.params_file import load_settings
from graftwork.workspace import PARAMS
from graftwork_flows.pipeline import SWEEP

GOALS = ("cells", "sweep")


def write_graph(root: Path) -> None:
    """Put sweep/dvc.yaml there where it is missing. Raises SettingsError for a sweep that can't be."""
    settings = load_settings(root / PARAMS)
    unknown = sorted(set(settings.sweep.strategies) - settings.strategies.keys())
    if unknown:
        raise SettingsError(
            f"The sweep names an unknown strategy {unknown[0]!r}", where=f"{root / PARAMS}, key sweep.strategies",
            expected=f"some of: {', '.join(settings.strategies)}", fix="add it under strategies, or correct the name",
        )  # fmt: skip
    if not (root / SWEEP).exists():
        write_text(root / SWEEP, (files("graftwork_flows") / "templates" / "sweep.yaml.template").read_text("utf-8"))
