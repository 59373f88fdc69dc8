"""Co-tuning: train the source's head along, on how source classes relate to target classes (You et al., NeurIPS 2020).

p̂(y_s | y_t) is the mean of the source model's probabilities over the target images of a class, without the paper's
calibration step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.source import Needs
from graftwork.strategy import Step, TargetModel
from graftwork.training_run import Run


def relationship(probabilities: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return p̂(y_s | y_t) (target classes, source classes); a class without images gets the uniform row."""
    rows = torch.full((classes, probabilities.shape[1]), 1 / probabilities.shape[1], dtype=probabilities.dtype)
    for label in torch.unique(labels).tolist():
        rows[label] = probabilities[labels == label].mean(dim=0)
    return rows


@dataclass(frozen=True)
class CoTuning:
    """Train the source's head along, on the source classes that a target class resembles."""

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 2.3

    @hookimpl
    def needs(self) -> Needs:
        """Ask for the source model."""
        return Needs(model=True)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Take the source's head along."""
        assert target.source is not None
        target.taps.watch_features(target.model)
        target.extra["CoTuning"] = target.source.head()

    @hookimpl
    @torch.no_grad()
    def training_started(self, run: Run) -> None:
        """Learn how the classes relate."""
        assert run.target.source is not None
        reference = run.target.source.reference()
        answers = [reference(images).float().softmax(dim=1) for images, _ in run.batches(run.train)]
        labels = run.train.labels.cpu()
        classes = run.target.classifier().out_features
        run.target.notes["CoTuning"] = relationship(torch.cat(answers).cpu(), labels, classes).to(run.machine.device)

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the cross-entropy of the source head."""
        if self.strength == 0:
            return None
        assert step.features is not None
        wanted = step.target.notes["CoTuning"][step.labels]
        return self.strength * F.cross_entropy(step.target.extra["CoTuning"](step.features.float()), wanted)
