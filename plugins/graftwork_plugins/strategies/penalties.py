"""Plain L1 and L2 penalties on what trains; biases and norms (ndim ≤ 1) are spared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from graftwork.gradients import add_to_gradients
from graftwork.hookspecs import hookimpl
from graftwork.strategy import Step, TargetModel


def _penalised(target: TargetModel) -> list[Tensor]:
    return [p for p in target.trainable().values() if p.ndim > 1]


@dataclass(frozen=True)
class L1:
    """Add strength · Σ|w| to the loss."""

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 1e-5

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Note what trains."""
        target.notes["L1"] = _penalised(target)

    @hookimpl
    def penalty(self, target: TargetModel) -> Tensor:
        """Return strength · Σ|w|."""
        return self.strength * torch.stack([p.abs().sum() for p in _penalised(target)]).sum()

    @hookimpl(tryfirst=True)
    def gradients_ready(self, step: Step) -> None:
        """Add strength · sign(w)."""
        held: list[Tensor] = step.target.notes["L1"]

        def term(numbers: list[int]) -> list[Tensor]:
            return _scaled(torch._foreach_sign([held[number] for number in numbers]), self.strength)

        add_to_gradients(held, term)


@dataclass(frozen=True)
class L2:
    """Add strength/2 · Σw² to the loss; unlike decoupled weight decay, an adaptive optimizer rescales it."""

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 1e-4

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Note what trains."""
        target.notes["L2"] = _penalised(target)

    @hookimpl
    def penalty(self, target: TargetModel) -> Tensor:
        """Return strength/2 · Σw²."""
        return self.strength / 2 * torch.stack([p.square().sum() for p in _penalised(target)]).sum()

    @hookimpl(tryfirst=True)
    def gradients_ready(self, step: Step) -> None:
        """Add strength · w."""
        held: list[Tensor] = step.target.notes["L2"]

        def term(numbers: list[int]) -> list[Tensor]:
            return list(torch._foreach_mul([held[number] for number in numbers], self.strength))

        add_to_gradients(held, term)


def _scaled(tensors: tuple[Tensor, ...], factor: float) -> list[Tensor]:
    torch._foreach_mul_(tensors, factor)
    return list(tensors)
