"""What a check of the data comes to, whoever drove its stages."""

from __future__ import annotations

from graftwork.data_check import DataCheck
from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.workspace import PARAMS
from graftwork_flows.runs import Run

OF_DATA = ("fetch", "augment")


def checked(layout: Layout) -> DataCheck:
    """Return what the cards of all data sets tell."""
    return DataCheck.of(layout, tuple(load_settings(layout.root / PARAMS).data), {})


def check_of(run: Run) -> DataCheck:
    """Return the same of a run in which stages failed: of their data sets, why."""
    names = tuple(load_settings(run.root / PARAMS).data)
    refused: dict[str, str] = {}
    why: dict[str, str] = {name: str(error) for name, error in run.failures.items()}
    for node in run.nodes:  # in the graph's order
        for before in node.upstream:
            if before in why:
                why.setdefault(node.name, why[before])
        stage, _, data = node.name.partition("@")
        if stage in OF_DATA and node.name in why:
            refused.setdefault(data, why[node.name])
    return DataCheck.of(Layout(run.root), names, refused)
