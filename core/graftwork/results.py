"""What a run found, in the flat form that books of experiments have: settings, figures, curves, the report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graftwork.files import read_json
from graftwork.layout import Layout
from graftwork.provenance import provenance
from graftwork.settings import Settings

UNTOLD = {"mirror", "remote", "log", "sweep"}  # decide no results of a run


@dataclass(frozen=True)
class Point:
    """One validation of one training."""

    strategy: str
    seed: int
    epoch: int
    loss: float
    validation_accuracy: float


@dataclass(frozen=True)
class Results:
    """A run's results, for a `log` plugin to keep."""

    run: str
    root: Path  # the workspace, also of a run that worked elsewhere
    settings: dict[str, str | int | float | bool]  # `finetune.lr` → value; lists as text
    figures: dict[str, float]  # `full_copy.accuracy.mean` → value; accuracies are fractions of 1
    tags: dict[str, str]  # verdict, chosen strategy, commit
    curves: tuple[Point, ...]
    files: tuple[Path, ...]  # the report, its figures


def results_of(settings: Settings, layout: Layout, run: str) -> Results:
    """Read them from what the report stage wrote. Raises StateError where it wrote nothing."""
    found = read_json(layout.report / "metrics.json")
    tags = {"verdict": str(found["verdict"]), "chosen": str(found["chosen"]), "run": run}
    told = settings.model_dump(mode="json", exclude=UNTOLD)
    names = ("report.html", "metrics.json", "accuracy.csv", "history.csv")
    return Results(
        run=run, root=layout.root, settings=dict(_flat(told)), figures=dict(_figures(found)),
        tags={**tags, "commit": provenance(layout.root).commit}, curves=tuple(_curves(layout.report / "history.csv")),
        files=tuple(layout.report / name for name in names if (layout.report / name).is_file()),
    )  # fmt: skip


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float | bool) else json.dumps(value)


def _figures(found: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield of each strategy: accuracies, its gain over scratch with the interval, and each seed's accuracy."""
    seeds = found["target"].get("seed_numbers", [])
    if found["source"]["accuracy"] is not None:
        yield "source.accuracy", float(found["source"]["accuracy"])
    for name, told in found["strategies"].items():
        yield f"{name}.validation_accuracy", float(told["validation_accuracy"])
        for kind in ("accuracy", "gain"):
            for part in ("mean", "low", "high") if told.get(kind) else ():
                yield f"{name}.{kind}.{part}", float(told[kind][part])
        for seed, accuracy in zip(seeds, told["accuracy"]["per_seed"], strict=False):
            yield f"{name}.accuracy.seed_{seed}", float(accuracy)


def _curves(path: Path) -> Iterator[Point]:
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            yield Point(
                row["strategy"], int(row["seed"]), int(row["epoch"]), float(row["loss"]),
                float(row["validation_accuracy"]),
            )  # fmt: skip
