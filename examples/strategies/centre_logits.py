"""An example of a strategy in a local file: pull every class's logits towards zero mean.

params.yaml names this file (or its folder) as `local_plugins`; then a stack may hold it:

    strategies:
      centred: [full_copy, {centre_logits: {weight: 0.1}}]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.registry import Registry
from graftwork.strategy import Step


@dataclass(frozen=True)
class CentreLogits:
    """Penalise the squared mean of each image's logits, so that no class drifts away."""

    weight: Annotated[float, Field(ge=0)] = 0.1

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        return self.weight * step.logits.float().mean(dim=1).square().mean()


@hookimpl
def register_plugins(register: Registry) -> None:
    register.strategy("centre_logits", CentreLogits)
