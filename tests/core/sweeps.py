"""Cells of a sweep with accuracies made up for each strategy, budget and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graftwork.files import write_json
from graftwork.layout import Layout
from graftwork.settings import Settings
from tests.core.small import DATA, SETTINGS

SEEDS = (7, 8, 9)
NOISE = (0.0, 0.04, 0.02)
LEVELS = {
    "scratch": {5: 0.5, 10: 0.6, 20: 0.7}, "better": {5: 0.6, 10: 0.65, 20: 0.85}, "worse": {5: 0.3, 10: 0.4, 20: 0.7},
}  # fmt: skip
CELLS = {
    (name, budget): [level + noise for noise in NOISE]
    for name, levels in LEVELS.items()
    for budget, level in levels.items()
}
VALIDATION = {"scratch": 0.5, "better": 0.8, "worse": 0.3}


def sweep_settings(sources: Sequence[str] = ("source",), **changes: Any) -> Settings:
    """Return settings that name the sweep of these cells."""
    return Settings.model_validate(
        {
            **SETTINGS.model_dump(), "model": "mlp", "seeds": SEEDS, "sources": tuple(sources),
            "data": dict.fromkeys((*sources, "target"), DATA),
            "strategies": {"scratch": (), "better": ("full_copy",), "worse": ("full_copy", "freeze")},
            "evidence": {"confidence": 0.95, "margin": 0.01},
            "sweep": {"strategies": tuple(LEVELS), "labels_per_class": (5, 10, 20), "minimum_steps": 1}, **changes,
        }
    )  # fmt: skip


def cell_key(source: str, strategy: str, budget: int, seed: int) -> str:
    """Return the key under which the ledger would know a cell."""
    return f"{source}-{strategy}-{budget}-{seed}"


def write_cells(
    layout: Layout,
    sources: Sequence[str],
    other: Mapping[tuple[str, int], Sequence[float]] | None = None,
    validation: Mapping[str, float] = VALIDATION,
) -> None:
    """Write every strategy's cells; `other` replaces test accuracies."""
    for source in sources:
        for name, levels in LEVELS.items():
            rows = [
                {
                    "key": cell_key(source, name, budget, seed), "labels": 2 * budget,
                    "labels_per_class": float(budget), "seed": seed,
                    "validation_accuracy": validation[name], "test_accuracy": accuracy,
                    "trainable": 100, "stored_bytes": 400 + 2 * (seed - SEEDS[0]),
                }
                for budget in levels
                for seed, accuracy in zip(SEEDS, {**CELLS, **(other or {})}[name, budget], strict=True)
            ]  # fmt: skip
            write_json(layout.cells(source, name), rows)
