"""One training: all that it needs, and all that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from graftwork.checkpoints import Checkpoints
from graftwork.class_weights import class_weights
from graftwork.engine import Machine, Normalise
from graftwork.images import LabelledImages
from graftwork.progress import Progress
from graftwork.settings import Training
from graftwork.strategy import Strategy, TargetModel
from graftwork.team import ALONE, Team
from graftwork.training_run import Run, Tensors
from graftwork.views import Reuse, Views


@dataclass(frozen=True)
class Trained:
    """The weights to be delivered, how well they do on validation, and how training went."""

    tensors: Tensors
    validation_accuracy: float
    temperature: float  # by which validation's probabilities are calibrated best
    history: list[dict[str, float]]  # a row for each validated epoch
    best_epoch: int  # 0 where the weights don't come from one epoch
    seconds: float
    notes: dict[str, float]
    mishaps: tuple[str, ...] = ()  # what went wrong on the way and was mended, in sentences


@dataclass(frozen=True)
class Job:
    """All that one training needs; the test images are not among it."""

    target: TargetModel
    strategy: Strategy
    train: LabelledImages
    validation: LabelledImages
    augmentation: Sequence[Any]
    normalise: Normalise
    training: Training
    machine: Machine
    seed: int
    progress: Progress
    checkpoints: Checkpoints
    reuse: Reuse | None = None  # where activations of frozen parts are kept; None: the whole model runs at every step
    team: Team = ALONE  # the processes that share each batch

    @cached_property
    def run(self) -> Run:
        """What the strategy sees of it."""
        train, balanced = self.train.to(self.machine.device), self.training.balances
        weights = class_weights("balanced" if balanced else "none", train.labels)
        full = replace(self.machine, autocast=False)
        keeps = self.reuse if self.training.cached_views else None
        views = Views(keeps, (), self.normalise, full, self.progress) if keeps else None
        return Run(
            self.target,
            train,
            self.validation,
            self.normalise,
            self.machine,
            self.seed,
            weights,
            views,
            bool(self.augmentation),
        )
