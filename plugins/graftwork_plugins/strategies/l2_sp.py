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
from graftwork.gradients import add_to_gradients
from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterOptions, Step, TargetModel


@dataclass(frozen=True)
class _Pulled:
    shared: list[Tensor]
    start: list[Tensor]  # of the shared ones
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
        target.notes["L2SP"] = _Pulled(shared, [p.detach().clone() for p in shared], fresh)

    @hookimpl
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions]:
        """Take the place of weight decay."""
        return dict.fromkeys(target.trainable(), ParameterOptions(weight_decay=False))

    @hookimpl
    def penalty(self, target: TargetModel) -> Tensor | None:
        """Return the penalty: zero at the start but for the head's part."""
        if self.decoupled:
            return None
        pulled: _Pulled = target.notes["L2SP"]
        moved = [(p - start).square().sum() for p, start in zip(pulled.shared, pulled.start, strict=True)]
        fresh = [p.square().sum() for p in pulled.fresh] or [pulled.start[0].new_zeros(())]
        return self.alpha / 2 * torch.stack(moved).sum() + self.beta / 2 * torch.stack(fresh).sum()

    @hookimpl(tryfirst=True)
    def gradients_ready(self, step: Step) -> None:
        """Add α·(w − w⁰), and β·w for what is new."""
        if self.decoupled:
            return
        pulled: _Pulled = step.target.notes["L2SP"]

        def towards_start(numbers: list[int]) -> list[Tensor]:
            moved = torch._foreach_sub([pulled.shared[n] for n in numbers], [pulled.start[n] for n in numbers])
            torch._foreach_mul_(moved, self.alpha)
            return list(moved)

        def towards_zero(numbers: list[int]) -> list[Tensor]:
            return list(torch._foreach_mul([pulled.fresh[n] for n in numbers], self.beta))

        add_to_gradients(pulled.shared, towards_start)
        add_to_gradients(pulled.fresh, towards_zero)

    @hookimpl
    def step_ended(self, step: Step, optimizer: torch.optim.Optimizer) -> None:
        """Pull after the step: w ← w − lr·α·(w − w⁰), with the first group's rate."""
        if not self.decoupled:
            return
        pulled: _Pulled = step.target.notes["L2SP"]
        rate = min(1.0, optimizer.param_groups[0]["lr"] * self.alpha)
        with torch.no_grad():
            torch._foreach_lerp_(pulled.shared, pulled.start, rate)
            if pulled.fresh:
                torch._foreach_mul_(pulled.fresh, 1 - min(1.0, optimizer.param_groups[0]["lr"] * self.beta))
