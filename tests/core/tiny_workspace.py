"""A workspace whose stages take a fraction of a second each: a small perceptron on noise of 8×8 pixels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from graftwork.layout import Layout
from graftwork.progress import Quiet
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.stages import Context, stages
from tests.core.small import DATA, REGISTRY, SETTINGS, TRAINING

SIZES = {"validation": 10, "test": 20}
STRATEGIES: dict[str, Any] = {
    "scratch": (), "full_copy": ("full_copy",), "freeze": ("full_copy", "freeze"), "lwf": ("full_copy", "lwf"),
    "joint": ("full_copy", {"joint": {"images": 12}}), "lora": ("full_copy", "lora"),
}  # fmt: skip


def tiny_settings(sources: Sequence[str] = ("source",), **changes: Any) -> Settings:
    """Return settings; `changes` replace whole keys, but those of `target` and `sweep` are merged."""
    data = {name: {**DATA, "path": f"{name}.npz", **SIZES} for name in (*sources, "target")}
    data["target"] |= changes.pop("target", {})
    sweep = {"strategies": ("scratch", "full_copy"), "labels_per_class": (2, 4), "minimum_steps": 3}
    return Settings.model_validate(
        {
            **SETTINGS.model_dump(), "image": {"size": 8, "channels": 1}, "model": {"mlp": {"hidden": (16, 8)}},
            "sources": tuple(sources), "data": data, "strategies": STRATEGIES,
            "pretrain": {**TRAINING, "epochs": 2}, "finetune": {**TRAINING, "epochs": 2, "warmup_fraction": 0.0},
            "sweep": {**sweep, **changes.pop("sweep", {})}, **changes,
        }
    )  # fmt: skip


def archive(path: Path, seed: int, count: int = 80) -> None:
    """Write noise (count, 8, 8), brighter for the second class."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    images = rng.integers(0, 160, (count, 8, 8), dtype=np.uint8) + (40 * labels[:, None, None]).astype(np.uint8)
    np.savez(path, images=images, labels=labels)


def workspace(root: Path, settings: Settings, registry: Registry = REGISTRY) -> Context:
    """Return a workspace in which all has run that comes before the target's trainings."""
    root.mkdir(exist_ok=True)
    for seed, name in enumerate(settings.data):
        archive(root / f"{name}.npz", seed)
    context = Context(settings, registry, Layout(root), Quiet())
    for name in settings.data:
        run(context, ("fetch", name), ("augment", name))
    run(context, *(("pretrain", source) for source in settings.sources))
    return context


def run(context: Context, *items: tuple[str, str]) -> None:
    """Run stages, each with its item."""
    for stage, item in items:
        stages()[stage](context, item)
