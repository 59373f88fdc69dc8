"""Let every seed's weights of a strategy answer to the target's test images: the only place that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from graftwork.calibration import Reliability, reliability, scaled
from graftwork.choice import recorded_choice
from graftwork.cost import Cost, cost
from graftwork.engine import Machine, Normalise, predict, prepare
from graftwork.errors import WeightsError
from graftwork.features import extract
from graftwork.files import read_json
from graftwork.images import LabelledImages
from graftwork.layout import Layout
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.similarity import linear_cka
from graftwork.storage import load_split
from graftwork.weights import load_weights

COMPARED = 1000  # validation images on which features are compared with the source's


@dataclass(frozen=True)
class Answers:
    """What one strategy's seeds answered."""

    correct: Tensor  # bool (seeds, images)
    balanced: tuple[float, ...]  # accuracy of each seed, every class counting the same
    confusion: Tensor  # counts (classes, classes): rows true, columns predicted; summed over seeds
    plain: tuple[Reliability, ...]  # of each seed
    scaled: tuple[Reliability, ...]  # the same at the temperatures that validation chose
    validation_accuracy: float  # mean over seeds
    cost: Cost  # of the seed that needs the most bytes
    similarity: float  # linear CKA of its features and the source's on the validation images; mean over seeds
    manifest: dict[str, Any]
    mishaps: tuple[str, ...] = ()  # what went wrong in training and was mended, by seed

    def accuracies(self) -> list[float]:
        """Return the share of correct answers of each seed."""
        found: list[float] = self.correct.double().mean(dim=1).tolist()
        return found

    def pooled(self) -> tuple[Reliability, Reliability]:
        """Return the bins of all seeds together, plain and scaled."""
        return reduce(add, self.plain), reduce(add, self.scaled)

    def calibration_errors(self) -> tuple[float, float]:
        """Return the means over seeds, plain and scaled."""
        plain, mended = ([seed.error() for seed in seeds] for seeds in (self.plain, self.scaled))
        return sum(plain) / len(plain), sum(mended) / len(mended)


@dataclass(frozen=True)
class Evaluation:
    """The test images, and all that it takes to ask weights about them."""

    settings: Settings
    registry: Registry
    layout: Layout
    machine: Machine
    test: LabelledImages
    classes: tuple[str, ...]
    source: Mapping[str, Tensor]
    validation: LabelledImages
    reference: Tensor  # the source's features of the validation images

    @classmethod
    def begin(cls, settings: Settings, registry: Registry, layout: Layout) -> Evaluation:
        """Read the test images and the source's weights."""
        machine = prepare(recorded_choice(settings, layout, "target"))
        classes = tuple(read_json(layout.card("target"))["classes"])
        source, contract = load_weights(layout.source_weights(settings.source) / "model.safetensors")
        test, validation = (load_split(layout.split("target", part)) for part in ("test", "validation"))
        validation = validation.take(torch.arange(min(COMPARED, len(validation))))
        tensors, seen = for_target(settings, registry, source, contract)
        model = build_model(settings, registry, len(contract.classes), seed=0)
        model.load_state_dict(tensors)
        reference = extract(machine.place(model), validation, Normalise(seen, machine), machine).features
        return cls(settings, registry, layout, machine, test, classes, source, validation, reference)

    def answers(self, name: str) -> Answers:
        """Return what the seeds of a strategy answer."""
        selection = read_json(self.layout.tuned(name) / "selection.json")
        manifest = read_json(self.layout.start(name) / "manifest.json")
        labels, costs, correct, plain, mended, alike = self.test.labels, [], [], [], [], []
        confusion = torch.zeros(len(self.classes) ** 2, dtype=torch.int64)
        for seed in self.settings.seeds:
            tensors, probabilities, features = self._ask(self.layout.tuned(name) / f"seed-{seed}.safetensors")
            alike.append(linear_cka(self.reference, features))
            predicted = probabilities.argmax(dim=1)
            costs.append(cost(manifest, tensors, self.source))
            correct.append(predicted == labels)
            confusion += torch.bincount(labels * len(self.classes) + predicted, minlength=len(confusion))
            plain.append(reliability(probabilities, labels))
            mended.append(reliability(scaled(probabilities, selection[str(seed)]["temperature"]), labels))
        chosen = [found["validation_accuracy"] for found in selection.values()]
        balanced = tuple(balanced_accuracy(right, labels) for right in correct)
        return Answers(
            torch.stack(correct), balanced, confusion.view(len(self.classes), -1), tuple(plain), tuple(mended),
            sum(chosen) / len(chosen), max(costs, key=lambda found: found.stored_bytes),
            sum(alike) / len(alike), manifest, _mishaps(selection),
        )  # fmt: skip

    def _ask(self, path: Path) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the weights of a file, the probabilities that they give to the test images, (images, classes), and
        the features that they make of the validation images.
        """
        tensors, contract = load_weights(path)
        if contract.classes != self.classes:
            raise WeightsError(
                f"The weights know the classes {', '.join(contract.classes)}", where=str(path),
                expected=", ".join(self.classes), fix="graftwork run",
            )  # fmt: skip
        model = build_model(self.settings, self.registry, len(self.classes), seed=0)
        model.load_state_dict(tensors)
        normalise = Normalise(contract, self.machine)
        features = extract(self.machine.place(model), self.validation, normalise, self.machine).features
        return tensors, predict(model, self.test, normalise, self.machine), features


def _mishaps(selection: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"seed {seed}: {told}" for seed, found in selection.items() for told in found.get("mishaps", ()))


def balanced_accuracy(correct: Tensor, labels: Tensor) -> float:
    """Return the mean over the classes of the share that is right (Brodersen et al., ICPR 2010)."""
    counts = labels.bincount()
    shares = labels.bincount(weights=correct.double()) / counts
    return float(shares[counts > 0].mean())
