"""What a run found out: the figures behind the report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from graftwork.bootstrap import bootstrap_gain
from graftwork.calibration import Reliability
from graftwork.cost import Cost
from graftwork.engine_record import Record
from graftwork.evaluation import Answers, Evaluation
from graftwork.evidence import Interval, VerdictName, judge, student_interval
from graftwork.files import read_json
from graftwork.histories import read_history
from graftwork.layout import Layout
from graftwork.prepared_data import IMBALANCED, PreparedData, imbalance
from graftwork.registry import Registry
from graftwork.scoring import SourceScores
from graftwork.settings import Settings
from graftwork.timings import read_timing


@dataclass(frozen=True)
class StrategyFindings:
    """What one strategy reached; accuracies and gains are fractions of 1."""

    name: str
    stack: tuple[str, ...]  # the plugins' names
    accuracy: Interval  # on the test images, over seeds
    per_seed: tuple[float, ...]
    validation_accuracy: float  # mean over seeds of the selected epochs'
    gain: Interval | None  # over scratch, paired by seed; None for scratch itself
    bootstrap: Interval | None  # the same gain's interval, covering the draw of test images too
    verdict: VerdictName | None
    p: float | None  # of no gain, corrected by Holm for the number of strategies
    calibration_error: float  # expected, on the test images; mean over seeds
    scaled_calibration_error: float  # the same at the temperatures that validation chose
    reliability: tuple[Reliability, Reliability]  # on the test images, plain and scaled; pooled over seeds
    confusion: tuple[tuple[int, ...], ...]  # rows: true class, columns: predicted; summed over seeds
    cost: Cost
    similarity: float  # of its features to the source's (linear CKA, 0 to 1), mean over seeds
    seconds: float | None  # mean over seeds; None where another machine computed it
    history: list[dict[str, float]]  # seed, epoch, loss, validation_accuracy
    manifest: dict[str, Any]
    balanced_accuracy: Interval | None = None  # every class counting the same; None where classes differ little in size

    @property
    def undone(self) -> bool:
        """Whether the gain's interval lies off zero, but Holm's correction doesn't let a verdict rest on it."""
        return self.gain is not None and self.verdict == "inconclusive" and self.gain.excludes_zero()


@dataclass(frozen=True)
class Findings:
    """All that the report tells."""

    strategies: tuple[StrategyFindings, ...]  # in the order of params.yaml
    classes: tuple[str, ...]
    source_classes: tuple[str, ...]
    source_accuracy: float | None  # None: trained elsewhere
    source_history: list[dict[str, float]]
    source_seconds: float | None
    scores: tuple[SourceScores, ...]  # of all sources; the first is transferred from
    recommendations: dict[str, Any]  # strategy → what was tried, and why its stack was chosen
    training_images: int
    test_images: int
    confidence: float
    margin: float
    data: tuple[PreparedData, ...] = ()  # the source's, unless it was imported, and the target's
    seeds: tuple[int, ...] = ()  # in the order of every `per_seed`
    engines: dict[str, str] = field(default_factory=dict)  # data set → what was trained on it with, and why
    mishaps: tuple[str, ...] = ()  # what went wrong in trainings and was mended, in sentences

    @property
    def scratch(self) -> StrategyFindings:
        """The control."""
        return next(found for found in self.strategies if found.name == "scratch")

    @property
    def transfers(self) -> tuple[StrategyFindings, ...]:
        """All but the control."""
        return tuple(found for found in self.strategies if found.name != "scratch")

    @property
    def chosen(self) -> StrategyFindings:
        """The strategy that did best on *validation*: a choice on the test images would flatter itself."""
        return max(self.transfers or self.strategies, key=lambda found: found.validation_accuracy)

    def metrics(self) -> dict[str, Any]:
        """Return the figures of metrics.json: no times, so that equal runs give equal files."""
        return {
            "source": {"accuracy": self.source_accuracy},
            "strategies": {found.name: _metrics(found) for found in self.strategies},
            "chosen": self.chosen.name,
            "target": {
                "training_images": self.training_images,
                "test_images": self.test_images,
                "seeds": len(self.scratch.per_seed),
                "seed_numbers": list(self.seeds),
            },
        }


def find(settings: Settings, registry: Registry, layout: Layout) -> Findings:
    """Evaluate every strategy and seed on the target's test images, and judge."""
    source = settings.source
    evaluation = Evaluation.begin(settings, registry, layout)
    answers = {name: evaluation.answers(name) for name in settings.strategies}
    source_history = layout.source_weights(source) / "history.csv"
    source_metrics = read_json(layout.source_weights(source) / "metrics.json")
    seconds = read_timing(layout.timings(f"source-{source}"), source_history)
    return Findings(
        strategies=_judged(settings, layout, answers),
        classes=evaluation.classes,
        source_classes=tuple(read_json(layout.card(source))["classes"]),
        source_accuracy=source_metrics["accuracy"],
        source_history=read_history(source_history),
        source_seconds=sum(seconds) if seconds else None,
        scores=tuple(SourceScores.from_json(read_json(layout.score(name))) for name in settings.sources),
        recommendations=read_json(layout.recommendation),
        training_images=sum(read_json(layout.card("target"))["splits"]["train"]),
        test_images=len(evaluation.test),
        confidence=settings.evidence.confidence,
        margin=settings.evidence.margin,
        data=_data(layout, source),
        seeds=settings.seeds,
        engines=_engines(layout, source),
        mishaps=(
            *(f"source model: {told}" for told in source_metrics.get("mishaps", ())),
            *(f"{name}, {told}" for name, given in answers.items() for told in given.mishaps),
        ),
    )


def _engines(layout: Layout, source: str) -> dict[str, str]:
    """Return in words on what was trained; nothing for what was trained elsewhere."""
    records = {name: Record.load(layout, name) for name in (source, "target")}
    return {name: record.sentence() for name, record in records.items() if record is not None}


def _data(layout: Layout, source: str) -> tuple[PreparedData, ...]:
    """Return what the cards tell of the source's and the target's images."""
    found = (PreparedData.from_card(name, read_json(layout.card(name))) for name in (source, "target"))
    return tuple(data for data in found if data is not None)


def _judged(settings: Settings, layout: Layout, answers: dict[str, Answers]) -> tuple[StrategyFindings, ...]:
    """Return the figures of every strategy, compared with scratch's; p and verdicts corrected for their number."""
    evidence, control = settings.evidence, answers["scratch"]
    transfers = [name for name in answers if name != "scratch"]
    pairs = [(answers[name].accuracies(), control.accuracies()) for name in transfers]
    judgements = dict(zip(transfers, judge(pairs, evidence.confidence, evidence.margin), strict=True))
    found = []
    for name, given in answers.items():
        figures, judged = _figures(settings, layout, name, given), judgements.get(name)
        if judged is not None:
            wider = bootstrap_gain(given.correct.numpy(), control.correct.numpy(), evidence.confidence)
            figures = replace(figures, gain=judged.gain, bootstrap=wider, verdict=judged.verdict, p=judged.p)
        found.append(figures)
    return tuple(found)


def _figures(settings: Settings, layout: Layout, name: str, found: Answers) -> StrategyFindings:
    """Put one strategy's answers into figures, without comparing them."""
    history = layout.tuned(name) / "history.csv"
    seconds = read_timing(layout.timings(name), history)
    plain, mended = found.calibration_errors()
    return StrategyFindings(
        name=name,
        stack=tuple(entry["name"] for entry in found.manifest["stack"]),
        accuracy=student_interval(found.accuracies(), settings.evidence.confidence).within(0.0, 1.0),
        per_seed=tuple(found.accuracies()),
        validation_accuracy=found.validation_accuracy,
        gain=None,
        bootstrap=None,
        verdict=None,
        p=None,
        calibration_error=plain,
        scaled_calibration_error=mended,
        reliability=found.pooled(),
        confusion=tuple(tuple(row) for row in found.confusion.tolist()),
        cost=found.cost,
        similarity=found.similarity,
        seconds=sum(seconds) / len(seconds) if seconds else None,
        history=read_history(history),
        manifest=found.manifest,
        balanced_accuracy=_balanced(settings, found),
    )


def _balanced(settings: Settings, found: Answers) -> Interval | None:
    """Return the interval of balanced accuracy where the test images' classes differ much in size."""
    if imbalance(found.confusion.sum(dim=1).tolist()) <= IMBALANCED:
        return None
    return student_interval(list(found.balanced), settings.evidence.confidence).within(0.0, 1.0)


def _metrics(found: StrategyFindings) -> dict[str, Any]:
    result: dict[str, Any] = {
        "accuracy": {**asdict(found.accuracy), "per_seed": list(found.per_seed)},
        "validation_accuracy": found.validation_accuracy,
        "trainable_share": found.cost.trainable_share,
        "cost": asdict(found.cost),
        "coverage": found.manifest["coverage"],
        "feature_similarity": found.similarity,
        "calibration_error": {"plain": found.calibration_error, "scaled": found.scaled_calibration_error},
    }
    if found.balanced_accuracy is not None:
        result["balanced_accuracy"] = asdict(found.balanced_accuracy)
    if found.gain is not None and found.bootstrap is not None:
        both = {"low": found.bootstrap.low, "high": found.bootstrap.high}
        result["gain"] = {**asdict(found.gain), "verdict": found.verdict, "p": found.p, "bootstrap": both}
    return result
