"""A workspace on the embedded data, its stages run as far as a measurement needs them."""

from __future__ import annotations

from pathlib import Path

from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.progress import Quiet
from graftwork.registry import load_plugins
from graftwork.stages import Context
from graftwork.workspace import run_stage
from graftwork_plugins.fashion_mnist import EMBEDDED

PARAMS = Path(__file__).parents[1] / "params.yaml"
PINNED = {  # what is measured shall not depend on what a machine chose once
    **{f"data.{data}.path": str(EMBEDDED) for data in ("source", "target")},
    "engine.device": "cpu", "engine.precision": "float32", "engine.memory_format": "channels_last",
}  # fmt: skip


def workspace(root: Path, **overrides: str) -> Context:
    """Return this repository's workspace, its files below `root`; `overrides` have `__` for the dots of a key."""
    registry = load_plugins()
    changes = PINNED | {key.replace("__", "."): value for key, value in overrides.items()}
    settings = load_settings(PARAMS, registry, [f"{key}={value}" for key, value in changes.items()])
    return Context(settings, registry, Layout(root), Quiet())


def prepare_for(context: Context, *strategies: str) -> None:
    """Run the stages up to what the fine-tuning of these strategies starts from."""
    for data in (context.settings.source, "target"):
        run_stage(context, "fetch", data)
        run_stage(context, "augment", data)
    run_stage(context, "pretrain", context.settings.source)
    for strategy in strategies:
        run_stage(context, "transfer", strategy)
