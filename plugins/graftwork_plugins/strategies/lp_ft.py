"""LP-FT: a linear probe first, then fine-tuning from that head (Kumar et al., ICLR 2022, arXiv 2202.10054)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.strategy import Phase, TargetModel


def probe_then_tune(head: frozenset[str], epochs: int, probe_fraction: float) -> list[Phase]:
    """Return the two phases; each gets an epoch at least, so one epoch in all becomes two."""
    probe = min(max(1, round(epochs * probe_fraction)), max(1, epochs - 1))
    return [Phase("linear probe", probe, head), Phase("fine-tuning", max(1, epochs - probe), restarts=True)]


@dataclass(frozen=True)
class LPFT:
    """Train the head alone for a part of the epochs, then everything, beginning at the best probe."""

    probe_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.5

    @hookimpl
    def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
        """Return the probe and the fine-tuning, each with its own course of the learning rate."""
        return probe_then_tune(target.head, epochs, self.probe_fraction)
