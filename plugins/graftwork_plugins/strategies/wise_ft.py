"""WiSE-FT: interpolate between the probe and the fine-tuned weights (Wortsman et al., CVPR 2022, arXiv 2109.01903)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.strategy import Phase, TargetModel
from graftwork.training_run import Outcome, Tensors
from graftwork_plugins.strategies.lp_ft import probe_then_tune


@dataclass(frozen=True)
class WiSEFT:
    """Deliver θ = (1−α)·θ₀ + α·θ₁, θ₀ the source's trunk with a linear probe, θ₁ the fine-tuned model.

    α comes from a grid of `points` between 0 and 1 and is chosen on validation; of equals the larger. In between, the
    statistics of batch normalisation are measured anew. It probes first, as lp_ft does, for `probe_fraction` of
    the epochs; where lp_ft stands in the stack, that decides.
    """

    points: Annotated[int, Field(ge=2)] = 11
    probe_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @hookimpl(trylast=True)
    def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
        """Probe, then tune."""
        return probe_then_tune(target.head, epochs, self.probe_fraction)

    @hookimpl
    def training_ended(self, outcome: Outcome) -> None:
        """Choose α."""
        probe, tuned = outcome.finished["linear probe"], outcome.tensors
        best = -1.0
        for index in range(self.points):
            alpha = index / (self.points - 1)
            candidate = interpolate(probe, tuned, alpha)
            if 0 < alpha < 1:
                candidate = outcome.run.with_fresh_statistics(candidate)
            accuracy = outcome.run.validation_accuracy(candidate)
            if accuracy >= best:
                best, outcome.tensors, outcome.notes["alpha"] = accuracy, candidate, alpha


def interpolate(zero: Tensors, one: Tensors, alpha: float) -> Tensors:
    """Return (1−α)·zero + α·one; exactly the end points at 0 and 1; integers are taken from `one`."""
    if alpha in (0, 1):
        return dict(one if alpha else zero)
    return {n: zero[n].lerp(t, alpha) if t.is_floating_point() else t for n, t in one.items()}
