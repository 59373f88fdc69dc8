"""L2-SP: pull the weights towards where they started (Li, Grandvalet, Davoine, ICML 2018, arXiv 1802.01483).

α/2·‖w_S − w⁰_S‖² + β/2·‖w_S̄‖², S the tensors with a source counterpart, S̄ the new ones (the head). Biases and
norms (ndim ≤ 1) are left out of both sums. It replaces the optimizer's weight decay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterOptions, Step, TargetModel


@dataclass(frozen=True)
class _Pulled:
    shared: list[Tensor]
    start: Tensor  # of the shared ones, as one vector
    fresh: list[Tensor]


@dataclass(frozen=True)
class L2SP:
    """Pull transferred weights towards their source values, and new ones towards zero.

    `decoupled` moves the weights by lr·α after the optimizer's step instead of adding to the loss: with an adaptive
    optimizer that is another method, as AdamW is another than Adam with an L2 term.
    """

    reads_images: ClassVar[bool] = False
    alpha: Annotated[float, Field(ge=0)] = 0.1
    beta: Annotated[float, Field(ge=0)] = 0.01
    decoupled: bool = False

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Remember the starting point, as a copy."""
        penalised = {name: p for name, p in target.trainable().items() if p.ndim > 1}
        shared: list[Tensor] = [p for name, p in penalised.items() if name in target.transferred]
        if not shared:
            raise SettingsError(
                "l2_sp has nothing to pull towards: no trainable weight came from the source",
                fix="put full_copy before it in the stack, and don't freeze everything",
            )
        fresh: list[Tensor] = [p for name, p in penalised.items() if name not in target.transferred]
        target.notes["L2SP"] = _Pulled(shared, _flat(shared).detach().clone(), fresh)

    @hookimpl
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions]:
        """Take the place of weight decay."""
        return dict.fromkeys(target.trainable(), ParameterOptions(weight_decay=False))

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the penalty: zero at the start but for the head's part."""
        if self.decoupled:
            return None
        pulled: _Pulled = step.target.notes["L2SP"]
        penalty: Tensor = self.alpha / 2 * (_flat(pulled.shared) - pulled.start).square().sum()
        return penalty + self.beta / 2 * _flat(pulled.fresh).square().sum() if pulled.fresh else penalty

    @hookimpl
    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        """Pull after the step: w ← w − lr·α·(w − w⁰), with the first group's rate."""
        if not self.decoupled:
            return
        pulled: _Pulled = step.target.notes["L2SP"]
        rate = min(1.0, optimizer.param_groups[0]["lr"] * self.alpha)
        parts = torch.split(pulled.start, [p.numel() for p in pulled.shared])
        starts = [part.view_as(p) for part, p in zip(parts, pulled.shared, strict=True)]
        with torch.no_grad():
            torch._foreach_lerp_(pulled.shared, starts, rate)
            if pulled.fresh:
                torch._foreach_mul_(pulled.fresh, 1 - min(1.0, optimizer.param_groups[0]["lr"] * self.beta))


def _flat(parameters: list[Tensor]) -> Tensor:
    """Return all values as one vector: one subtraction and one sum instead of one for each tensor."""
    return torch.cat([parameter.flatten() for parameter in parameters])
