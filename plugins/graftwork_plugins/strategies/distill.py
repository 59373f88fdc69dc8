"""Knowledge distillation: learn the source model's answers (Hinton, Vinyals, Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from graftwork.errors import SettingsError, listed
from graftwork.hookspecs import hookimpl
from graftwork.source import Needs
from graftwork.strategy import Step, TargetModel
from graftwork_plugins.strategies.lwf import distillation


@dataclass(frozen=True)
class Distill:
    """Add strength·T²·KL between the source model's answers and the model's own; the source knows its classes."""

    strength: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 4.0

    @hookimpl
    def needs(self) -> Needs:
        """Ask for the source model."""
        return Needs(model=True)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Take the source model as the teacher; of its answers those for the target's classes, found by name."""
        assert target.source is not None
        known = {name: number for number, name in enumerate(target.source.classes)}
        unknown = [name for name in target.classes if name not in known]
        if unknown:
            raise SettingsError(
                f"The source knows nothing of the classes {listed(unknown, 5)}", where="a stack with distill",
                expected=f"classes among the source's: {listed(known, 12)}",
                fix="use lwf, which needs no common classes, or name the classes alike",
            )  # fmt: skip
        target.notes["Distill"] = target.source.reference(), [known[name] for name in target.classes]

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the distillation loss; the teacher sees the same augmented images."""
        if self.strength == 0:
            return None
        teacher, columns = step.target.notes["Distill"]
        with torch.no_grad():
            answers = teacher(step.images)[:, columns]
        return self.strength * distillation(step.logits, answers, self.temperature)
