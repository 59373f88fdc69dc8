"""Plain L1 and L2 penalties on what trains; biases and norms (ndim ≤ 1) are spared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.strategy import Step


def _values(step: Step) -> Tensor:
    return torch.cat([p.flatten() for p in step.target.trainable().values() if p.ndim > 1])


@dataclass(frozen=True)
class L1:
    """Add strength · Σ|w| to the loss."""

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 1e-5

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        """Return the penalty."""
        return self.strength * _values(step).abs().sum()


@dataclass(frozen=True)
class L2:
    """Add strength/2 · Σw² to the loss; unlike decoupled weight decay, an adaptive optimizer rescales it."""

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 1e-4

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        """Return the penalty."""
        return self.strength / 2 * _values(step).square().sum()
