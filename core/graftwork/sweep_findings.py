"""What a sweep found out: for each source, strategy and label budget what it reached, gained and cost."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graftwork.evidence import Interval, Judgement, judge, student_interval
from graftwork.files import read_json
from graftwork.label_curves import LabelEquivalent, label_equivalent
from graftwork.layout import Layout
from graftwork.ledger import Ledger
from graftwork.params_file import sweep_of
from graftwork.settings import Settings

Row = dict[str, Any]  # one cell, as the cells stage wrote it


@dataclass(frozen=True)
class Point:
    """One strategy from one source with one label budget. Accuracies and gains are fractions of 1, on test images."""

    source: str
    strategy: str
    labels_per_class: int
    labels: int
    per_seed: tuple[float, ...]
    accuracy: Interval
    validation_accuracy: float  # mean over seeds
    judgement: Judgement | None  # against scratch with the same labels and seeds; None for scratch itself
    equivalent: LabelEquivalent | None  # the labels a class that scratch would need
    trainable: int  # parameters
    stored_bytes: int
    seconds: float | None  # mean over seeds; None where another machine computed it


@dataclass(frozen=True)
class SweepFindings:
    """All points of a sweep, by source, strategy and budget in the order of params.yaml."""

    points: tuple[Point, ...]
    sources: tuple[str, ...]
    strategies: tuple[str, ...]
    budgets: tuple[int, ...]  # labels a class
    seeds: int
    confidence: float
    margin: float

    def curve(self, source: str, strategy: str) -> list[Point]:
        """Return the points of one strategy, from few labels to many."""
        return [one for one in self.points if (one.source, one.strategy) == (source, strategy)]

    def with_labels(self, budget: int) -> list[Point]:
        """Return the points of one budget."""
        return [one for one in self.points if one.labels_per_class == budget]

    def chosen(self, budget: int) -> Point:
        """Return the transfer that did best on *validation* with a budget."""
        found = [one for one in self.with_labels(budget) if one.judgement]
        return max(found, key=lambda one: one.validation_accuracy)

    def name(self, point: Point) -> str:
        """Return the strategy, and where there are several sources, which."""
        several = len(self.sources) > 1 and point.judgement
        return f"{point.strategy} from {point.source}" if several else point.strategy

    def metrics(self) -> dict[str, Any]:
        """Return the figures of sweep/metrics.json: no times, so that equal sweeps give equal files."""
        result: dict[str, Any] = {}
        for one in self.points:
            by_strategy = result.setdefault(one.source, {}).setdefault(one.strategy, {})
            by_strategy[f"{one.labels_per_class} labels"] = _metrics(one)
        return {"sources": result}


def find_sweep(settings: Settings, layout: Layout) -> SweepFindings:
    """Read the cells and judge them: every transfer against scratch with the same labels and seeds."""
    sweep = sweep_of(settings)
    rows = {
        (source, name, budget): held
        for source in settings.sources
        for name in sweep.strategies
        for budget, held in _by_budget(read_json(layout.cells(source, name)))
    }
    transfers = [place for place in rows if place[1] != "scratch"]
    pairs = [(_accuracies(rows[place]), _accuracies(rows[_control(place)])) for place in transfers]
    judged = dict(zip(transfers, judge(pairs, settings.evidence.confidence, settings.evidence.margin), strict=True))
    reader = _Reader(settings, Ledger(layout.ledger), rows)
    return SweepFindings(
        points=tuple(reader.point(place, judged.get(place)) for place in rows),
        sources=settings.sources,
        strategies=sweep.strategies,
        budgets=sweep.labels_per_class,
        seeds=len(settings.seeds),
        confidence=settings.evidence.confidence,
        margin=settings.evidence.margin,
    )


Place = tuple[str, str, int]  # source, strategy, labels a class


@dataclass(frozen=True)
class _Reader:
    settings: Settings
    ledger: Ledger
    rows: dict[Place, list[Row]]

    def point(self, place: Place, judgement: Judgement | None) -> Point:
        """Return what the seeds of one place come to."""
        source, strategy, budget = place
        held, confidence = self.rows[place], self.settings.evidence.confidence
        reached = _accuracies(held)
        return Point(
            source=source,
            strategy=strategy,
            labels_per_class=budget,
            labels=held[0]["labels"],
            per_seed=tuple(reached),
            accuracy=student_interval(reached, confidence).within(0.0, 1.0),
            validation_accuracy=_mean(row["validation_accuracy"] for row in held),
            judgement=judgement,
            equivalent=self._equivalent(source, reached) if judgement else None,
            trainable=held[0]["trainable"],
            stored_bytes=round(_mean(row["stored_bytes"] for row in held)),
            seconds=self._seconds(held),
        )

    def _equivalent(self, source: str, reached: list[float]) -> LabelEquivalent:
        budgets = sweep_of(self.settings).labels_per_class
        curve = np.array([_accuracies(self.rows[source, "scratch", budget]) for budget in budgets])
        return label_equivalent(budgets, curve, np.array(reached), self.settings.evidence.confidence)

    def _seconds(self, held: list[Row]) -> float | None:
        trials = [self.ledger.find(row["key"]) for row in held]
        return _mean(trial.seconds for trial in trials if trial) if all(trials) else None


def _by_budget(rows: list[Row]) -> Iterable[tuple[int, list[Row]]]:
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(round(row["labels_per_class"]), []).append(row)
    return found.items()


def _control(place: Place) -> Place:
    return place[0], "scratch", place[2]


def _accuracies(rows: list[Row]) -> list[float]:
    return [float(row["test_accuracy"]) for row in rows]


def _mean(values: Iterable[float]) -> float:
    held = list(values)
    return sum(held) / len(held)


def _metrics(one: Point) -> dict[str, Any]:
    result: dict[str, Any] = {
        "accuracy": {**asdict(one.accuracy), "per_seed": list(one.per_seed)},
        "validation_accuracy": one.validation_accuracy,
        "trainable_parameters": one.trainable,
        "stored_bytes": one.stored_bytes,
    }
    if one.judgement and one.equivalent:
        result["gain"] = {**asdict(one.judgement.gain), "verdict": one.judgement.verdict, "p": one.judgement.p}
        bounds = asdict(one.equivalent)
        result["label_equivalent"] = {name: value if math.isfinite(value) else None for name, value in bounds.items()}
    return result
