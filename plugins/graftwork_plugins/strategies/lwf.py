"""Learning without forgetting: keep the source head's answers (Li, Hoiem, ECCV 2016, arXiv 1606.09282)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.source import Needs
from graftwork.strategy import Step, TargetModel
from graftwork.training_run import Run


def distillation(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Return T²·KL(teacher ‖ student) of logits (batch, classes), averaged over the batch."""
    wanted, found = (F.log_softmax(logits.float() / temperature, dim=1) for logits in (teacher, student))
    return temperature**2 * F.kl_div(found, wanted, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class LwF:
    """Add λ·T²·KL between the source model's answers and those of its head, which trains on, over the new trunk."""

    strength: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 2.0

    @hookimpl
    def needs(self) -> Needs:
        """Ask for the source model."""
        return Needs(model=True)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Take the source's head along, and the source model as the teacher."""
        assert target.source is not None
        target.taps.watch_features(target.model)
        target.extra["LwF"] = target.source.head()
        target.notes["LwF"] = target.source.reference()

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Let the teacher answer once where it would see the same images at every epoch."""
        if run.views is not None and not run.augmented and self.strength > 0:
            run.target.notes["LwF answers"] = run.log_probabilities(run.target.notes["LwF"], run.train)

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the distillation loss; the teacher sees the same augmented images."""
        if self.strength == 0:
            return None
        assert step.features is not None
        known: Tensor | None = step.target.notes.get("LwF answers")
        if known is not None and step.numbers is not None:
            teacher = known[step.numbers]
        else:
            with torch.no_grad():
                teacher = step.target.notes["LwF"](step.images)
        return self.strength * distillation(step.target.extra["LwF"](step.features.float()), teacher, self.temperature)
