"""A linear probe on activations that were computed once, against the same probe by the whole model at every step.

Both train the head of a test_resnet that was trained on the source classes, on images of the target classes: the same
images, batches, steps, rates and validation. The cache is empty whenever a training on activations begins.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.loops import BATCH, LR, Setting
from benchmarks.measuring import Row, interleaved, ratios, spread
from graftwork.checkpoints import Checkpoints
from graftwork.engine import Normalise
from graftwork.feature_cache import FeatureCache
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import head_tensors
from graftwork.progress import Quiet
from graftwork.settings import Training
from graftwork.strategy import Strategy, TargetModel
from graftwork.training import train
from graftwork.views import Reuse
from graftwork_plugins.augmentations import Flip, Shift
from graftwork_plugins.fashion_mnist import EMBEDDED, FashionMNIST
from graftwork_plugins.strategies.freeze import Freeze

IMAGES, VALIDATION, VIEWS = 2048, 500, 4
SOURCE = Training(epochs=3, batch_size=BATCH, optimizer="sgd", lr=LR, warmup_fraction=0.2)
AUGMENTED = (Flip(), Shift(2))


class Probe:
    """A trained trunk, and images of other classes."""

    def __init__(self) -> None:
        self.setting = Setting()
        raw = FashionMNIST(keep=(1, 3, 4, 6, 7)).load(EMBEDDED, self.setting.settings.image_of("target"))
        images, labels = torch.from_numpy(raw.images[: IMAGES + VALIDATION]), torch.from_numpy(raw.labels)
        self.train = LabelledArrays(images[:IMAGES].clone(), labels[:IMAGES])
        self.validation = LabelledArrays(images[IMAGES:].clone(), labels[IMAGES : IMAGES + VALIDATION])
        with tempfile.TemporaryDirectory() as folder:
            start = self.job(Path(folder), Strategy("source", []), SOURCE, self.setting.model(), ())
            self.trunk = train(replace(start, train=self.setting.train)).tensors

    def job(
        self, folder: Path, strategy: Strategy, training: Training, model: torch.nn.Module, augmentation: Sequence[Any]
    ) -> Job:  # fmt: skip
        machine = self.setting.machine
        target = TargetModel(model, head_tensors(model), frozenset(model.state_dict()) - head_tensors(model))
        strategy.prepare_model(target)
        return Job(
            target, strategy, self.train, self.validation, augmentation, Normalise(self.setting.contract, machine),
            training, machine, 0, Quiet(), Checkpoints(folder / "checkpoints", "x"),
        )  # fmt: skip

    def accuracy(self, epochs: int, augmentation: Sequence[Any], views: int) -> float:
        """Train a probe and return its accuracy on validation; `views` of 0 is the loop."""
        training = Training(
            epochs=epochs, batch_size=BATCH, optimizer="sgd", lr=LR, warmup_fraction=0.2, validate_every_epochs=5,
            cached_views=views,
        )  # fmt: skip
        model = self.setting.model()
        fresh, head = model.state_dict(), head_tensors(model)
        model.load_state_dict({name: fresh[name] if name in head else t for name, t in self.trunk.items()})
        with tempfile.TemporaryDirectory() as folder:
            job = self.job(Path(folder), Strategy("probe", [Freeze()]), training, model, augmentation)
            reuse = Reuse(FeatureCache(Path(folder) / "features"), "", "", seed=0)
            return train(replace(job, reuse=reuse)).validation_accuracy


def frozen_rows(rounds: int = 5) -> list[Row]:
    """Compare probes of 10 and 30 epochs, without augmentation and with flip and shift."""
    probe, rows = Probe(), []
    for augmentation, name, views, epochs, aim in (
        ((), "no augmentation", 1, 10, None),
        ((), "no augmentation", 1, 30, 10),
        (AUGMENTED, f"{VIEWS} views", VIEWS, 10, None),
        (AUGMENTED, f"{VIEWS} views", VIEWS, 30, None),
    ):
        reached: dict[str, float] = {}

        def run(how: str, kept: int) -> None:
            reached[how] = probe.accuracy(epochs, augmentation, kept)  # noqa: B023  # called within the round

        contenders = {"loop": lambda: run("loop", 0), "once": lambda: run("once", views)}  # noqa: B023
        seconds = interleaved(contenders, rounds)
        found, what = ratios(seconds["loop"], seconds["once"]), f"{epochs} epochs, {name}"
        met = None if aim is None else statistics.median(found) >= aim
        rows.append(
            Row(
                f"probe of {what}: seconds of the loop / on activations",
                f"≥ {aim}" if aim else "–",
                *spread(found, 1),
                met,
            )
        )
        both = f"{reached['loop']:.1%} / {reached['once']:.1%}"
        rows.append(Row(f"probe of {what}: accuracy of the loop / on activations", "equal", both, "–"))
    return rows
