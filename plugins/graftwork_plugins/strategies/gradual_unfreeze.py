"""Gradual unfreezing: thaw from the head down, a stage at a time (Howard, Ruder, ACL 2018, arXiv 1801.06146)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from graftwork.anatomy import depths
from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.strategy import Phase, TargetModel


@dataclass(frozen=True)
class GradualUnfreeze:
    """Train the head first, then one stage more every `every_epochs`; the learning rate takes its one course."""

    every_epochs: Annotated[int, Field(ge=1)] = 1

    @hookimpl
    def phases(self, target: TargetModel, epochs: int) -> list[Phase]:
        """Return one phase for each depth that holds something trainable; the last takes the remaining epochs."""
        depth = depths(target.model)
        levels = sorted({depth[name] for name in target.trainable() if name in depth}, reverse=True)
        before = self.every_epochs * (len(levels) - 1)
        if before >= epochs:
            raise SettingsError(
                f"gradual_unfreeze needs {before + 1} epochs to thaw {len(levels)} parts, and there are {epochs}",
                fix="raise finetune.epochs, or lower every_epochs",
            )
        lengths = [self.every_epochs] * (len(levels) - 1) + [epochs - before]
        return [
            Phase(f"down to depth {level}", length, frozenset(n for n, d in depth.items() if d >= level))
            for level, length in zip(levels, lengths, strict=True)
        ]
