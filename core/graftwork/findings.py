"""What a run found out: the figures behind the report, from reading the test images once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from graftwork.calibration import expected_calibration_error, scaled
from graftwork.engine import Machine, Normalise, predict, prepare
from graftwork.errors import WeightsError
from graftwork.evidence import (
    Interval,
    VerdictName,
    corrected_verdict,
    holm,
    paired_gain,
    paired_p_value,
    student_interval,
    verdict,
)
from graftwork.files import read_json
from graftwork.histories import read_history
from graftwork.images import LabelledImages, load_split
from graftwork.layout import Layout
from graftwork.models import build_model
from graftwork.registry import Registry
from graftwork.settings import Evidence, Settings
from graftwork.timings import read_timing
from graftwork.weights import load_weights


@dataclass(frozen=True)
class StrategyFindings:
    """What one strategy reached; accuracies and gains are fractions of 1."""

    name: str
    stack: tuple[str, ...]  # the plugins' names
    accuracy: Interval  # on the test images, over seeds
    per_seed: tuple[float, ...]
    validation_accuracy: float  # mean over seeds of the selected epochs'
    gain: Interval | None  # over scratch, paired by seed; None for scratch itself
    verdict: VerdictName | None
    p: float | None  # of no gain, corrected by Holm for the number of strategies
    calibration_error: float  # expected, on the test images; mean over seeds
    scaled_calibration_error: float  # the same at the temperatures that validation chose
    confusion: tuple[tuple[int, ...], ...]  # rows: true class, columns: predicted; summed over seeds
    trainable_share: float  # of the model's parameters
    seconds: float | None  # mean over seeds; None where another machine computed it
    history: list[dict[str, float]]  # seed, epoch, loss, validation_accuracy
    manifest: dict[str, Any]


@dataclass(frozen=True)
class Findings:
    """All that the report tells."""

    strategies: tuple[StrategyFindings, ...]  # in the order of params.yaml
    classes: tuple[str, ...]
    source_classes: tuple[str, ...]
    source_accuracy: float
    source_history: list[dict[str, float]]
    source_seconds: float | None
    training_images: int
    test_images: int
    confidence: float
    margin: float

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
            },
        }


def find(settings: Settings, registry: Registry, layout: Layout) -> Findings:
    """Evaluate every strategy and seed on the target's test images: the only place that reads them."""
    machine = prepare(settings.engine)
    card = read_json(layout.card("target"))
    test = load_split(layout.split("target", "test"))
    source = read_json(layout.source_weights(settings.source) / "metrics.json")
    probe = _Probe(settings, registry, layout, machine, test, tuple(card["classes"]))
    scratch = probe.evaluate("scratch")
    source_history = layout.source_weights(settings.source) / "history.csv"
    seconds = read_timing(layout.timings(f"source-{settings.source}"), source_history)
    return Findings(
        strategies=_corrected([probe.findings(name, scratch) for name in settings.strategies], settings.evidence),
        classes=tuple(card["classes"]),
        source_classes=tuple(read_json(layout.card(settings.source))["classes"]),
        source_accuracy=source["accuracy"],
        source_history=read_history(source_history),
        source_seconds=sum(seconds) if seconds else None,
        training_images=sum(card["splits"]["train"]),
        test_images=len(test),
        confidence=settings.evidence.confidence,
        margin=settings.evidence.margin,
    )


@dataclass(frozen=True)
class _Answers:
    """What one strategy's seeds answered."""

    matrices: torch.Tensor  # confusion (seeds, classes, classes)
    validation_accuracy: float
    calibration_error: float
    scaled_calibration_error: float

    def accuracies(self) -> list[float]:
        """Return the share of correct answers of each seed."""
        return [float(matrix.diagonal().sum() / matrix.sum()) for matrix in self.matrices.double()]


@dataclass(frozen=True)
class _Probe:
    settings: Settings
    registry: Registry
    layout: Layout
    machine: Machine
    test: LabelledImages
    classes: tuple[str, ...]

    def evaluate(self, name: str) -> _Answers:
        """Return what the seeds' weights answer to the test images."""
        selection = read_json(self.layout.tuned(name) / "selection.json")
        matrices, errors = [], []
        for seed in self.settings.seeds:
            answers = self._answers(self.layout.tuned(name) / f"seed-{seed}.safetensors")
            cells = self.test.labels * len(self.classes) + answers.argmax(dim=1)
            matrices.append(torch.bincount(cells, minlength=len(self.classes) ** 2).view(len(self.classes), -1))
            mended = scaled(answers, selection[str(seed)]["temperature"])
            errors.append([expected_calibration_error(found, self.test.labels) for found in (answers, mended)])
        chosen = [found["validation_accuracy"] for found in selection.values()]
        raw, mended_error = torch.tensor(errors, dtype=torch.float64).mean(dim=0).tolist()
        return _Answers(torch.stack(matrices), sum(chosen) / len(chosen), raw, mended_error)

    def findings(self, name: str, scratch: _Answers) -> StrategyFindings:
        evidence = self.settings.evidence
        found = scratch if name == "scratch" else self.evaluate(name)
        accuracy, control = found.accuracies(), scratch.accuracies()
        gain = None if name == "scratch" else paired_gain(accuracy, control, evidence.confidence)
        manifest = read_json(self.layout.start(name) / "manifest.json")
        history_file = self.layout.tuned(name) / "history.csv"
        history = read_history(history_file)
        seconds = read_timing(self.layout.timings(name), history_file)
        return StrategyFindings(
            name=name,
            stack=tuple(use.name for use in self.settings.strategies[name]),
            accuracy=student_interval(accuracy, evidence.confidence).within(0.0, 1.0),
            per_seed=tuple(accuracy),
            validation_accuracy=found.validation_accuracy,
            gain=gain,
            verdict=None if gain is None else verdict(gain, evidence.margin),
            p=None if gain is None else paired_p_value(accuracy, control),
            calibration_error=found.calibration_error,
            scaled_calibration_error=found.scaled_calibration_error,
            confusion=tuple(tuple(row) for row in found.matrices.sum(dim=0).tolist()),
            trainable_share=_trainable_share(manifest),
            seconds=sum(seconds) / len(seconds) if seconds else None,
            history=history,
            manifest=manifest,
        )

    def _answers(self, path: Path) -> torch.Tensor:
        tensors, contract = load_weights(path)
        if contract.classes != self.classes:
            raise WeightsError(
                f"The weights know the classes {', '.join(contract.classes)}", where=str(path),
                expected=", ".join(self.classes), fix="graftwork run",
            )  # fmt: skip
        model = build_model(self.settings, self.registry, len(self.classes), seed=0)
        model.load_state_dict(tensors)
        normalise = Normalise(contract, self.machine)
        return predict(self.machine.place(model), self.test, normalise, self.machine)


def _corrected(strategies: list[StrategyFindings], evidence: Evidence) -> tuple[StrategyFindings, ...]:
    """Correct p and verdicts for the number of strategies that were compared with scratch."""
    corrected = iter(holm([found.p for found in strategies if found.p is not None]))
    result = []
    for found in strategies:
        if found.gain is not None:
            p = next(corrected)
            found = replace(found, p=p, verdict=corrected_verdict(found.gain, evidence.margin, p, evidence.confidence))
        result.append(found)
    return tuple(result)


def _trainable_share(manifest: dict[str, Any]) -> float:
    sizes = [
        (fate["trainable"], int(torch.Size(fate["shape"]).numel()))
        for fate in manifest["tensors"]
        if fate["trainable"] is not None
    ]
    return sum(size for trainable, size in sizes if trainable) / sum(size for _, size in sizes)


def _metrics(found: StrategyFindings) -> dict[str, Any]:
    result: dict[str, Any] = {
        "accuracy": {**asdict(found.accuracy), "per_seed": list(found.per_seed)},
        "validation_accuracy": found.validation_accuracy,
        "trainable_share": found.trainable_share,
        "coverage": found.manifest["coverage"],
        "calibration_error": {"plain": found.calibration_error, "scaled": found.scaled_calibration_error},
    }
    if found.gain is not None:
        result["gain"] = {**asdict(found.gain), "verdict": found.verdict, "p": found.p}
    return result
