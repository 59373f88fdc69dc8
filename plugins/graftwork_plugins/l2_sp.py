"""L2-SP: pull the weights towards where they started (Li, Grandvalet, Davoine, ICML 2018, arXiv 1802.01483).

α/2·‖w_S − w⁰_S‖² + β/2·‖w_S̄‖², S the tensors with a source counterpart, S̄ the new ones (the head). Biases and
norms (ndim ≤ 1) are left out of both sums. It replaces the optimizer's weight decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterGroup, Step, TargetModel, usual_groups


@dataclass(frozen=True)
class L2SP:
    """Pull transferred weights towards their source values, and new ones towards zero."""

    alpha: Annotated[float, Field(ge=0)] = 0.1
    beta: Annotated[float, Field(ge=0)] = 0.01

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Remember the starting point, as a copy."""
        shared = [p for name, p in self._penalised(target) if name in target.transferred]
        if not shared:
            raise SettingsError(
                "l2_sp has nothing to pull towards: no trainable weight came from the source",
                fix="put full_copy before it in the stack, and don't freeze everything",
            )
        target.notes["L2SP"] = _flat(shared).detach().clone()

    @hookimpl
    def parameter_groups(self, target: TargetModel) -> list[ParameterGroup]:
        """Take the place of weight decay."""
        return usual_groups(target, weight_decay=0.0)

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        """Return the penalty: zero at the start but for the head's part."""
        penalised = list(self._penalised(step.target))
        shared = _flat([p for name, p in penalised if name in step.target.transferred])
        fresh = [p for name, p in penalised if name not in step.target.transferred]
        penalty: Tensor = self.alpha / 2 * (shared - step.target.notes["L2SP"]).square().sum()
        return penalty + self.beta / 2 * _flat(fresh).square().sum() if fresh else penalty

    @staticmethod
    def _penalised(target: TargetModel) -> list[tuple[str, torch.nn.Parameter]]:
        return [(name, p) for name, p in target.trainable().items() if p.ndim > 1]


def _flat(parameters: list[torch.nn.Parameter]) -> Tensor:
    """Return all values as one vector: one subtraction and one sum instead of one for each tensor."""
    return torch.cat([parameter.flatten() for parameter in parameters])
