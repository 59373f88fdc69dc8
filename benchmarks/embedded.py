"""A workspace on the embedded data, its stages run as far as a measurement needs them."""

from __future__ import annotations

import os
from pathlib import Path

from graftwork.layout import Layout
from graftwork.params_file import load_settings
from graftwork.progress import Quiet
from graftwork.registry import load_plugins
from graftwork.stages import Context
from graftwork.workspace import run_stage
from graftwork_plugins.fashion_mnist import EMBEDDED

PARAMS = Path(__file__).parents[1] / "params.yaml"


def workspace(root: Path, memory_format: str = "channels_last", **overrides: str) -> Context:
    """Return this repository's workspace, its files below `root`; `overrides` have `__` for the dots of a key."""
    registry = load_plugins()
    # The whole of the engine, so that nothing is left to what this machine chose once
    engine = f"{{device: cpu, threads: {os.cpu_count()}, precision: float32, memory_format: {memory_format}}}"
    pinned = {"engine": engine, **{f"data.{data}.path": str(EMBEDDED) for data in ("source", "target")}}
    changes = pinned | {key.replace("__", "."): value for key, value in overrides.items()}
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
