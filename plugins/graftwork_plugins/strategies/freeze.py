"""Freeze the trunk, or its first part: with `until: head` a linear probe inside the loop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from graftwork.anatomy import batch_norms, depths, hold_frozen_batch_norms
from graftwork.errors import SettingsError, listed
from graftwork.hookspecs import hookimpl
from graftwork.strategy import TargetModel
from graftwork.taps import stage_names

Fraction = Annotated[float, Field(gt=0, lt=1)]
Stages = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Freeze:
    """Keep the trunk as it is, from the image up to `until`, and train the rest.

    `until` is `head`; or a stage by timm's name (`layer3`, `blocks.4`), which itself trains; or how many stages from
    the image on, the stem being the first; or a fraction of the trunk's values. `pattern`, a regular expression,
    freezes the parameters whose names it finds instead. `batch_norm` says what happens to frozen batch
    normalisation: `eval` uses the running statistics and leaves them alone, `update` lets them follow the target's
    images, `train_affine` also trains scale and shift.
    """

    until: Stages | Fraction | str = "head"
    pattern: str | None = None
    batch_norm: Literal["eval", "update", "train_affine"] = "eval"

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze the parameters."""
        frozen = self._matching(target) if self.pattern is not None else self._before(target)
        for name, parameter in target.model.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)
        if self.batch_norm == "train_affine":
            for norm in batch_norms(target.model):
                norm.requires_grad_(True)

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Put frozen batch norms into evaluation mode: `requires_grad_(False)` alone moves their statistics."""
        if self.batch_norm == "eval":
            hold_frozen_batch_norms(target.model)

    def _matching(self, target: TargetModel) -> set[str]:
        names = [name for name, _ in target.model.named_parameters()]
        found = {name for name in names if re.search(self.pattern or "", name)}
        if not found:
            raise SettingsError(
                f"freeze: the pattern {self.pattern!r} finds no parameter", expected=f"a part of {listed(names, 6)}",
                fix="correct pattern",
            )  # fmt: skip
        return found

    def _before(self, target: TargetModel) -> set[str]:
        depth = depths(target.model)
        trunk = {name: place for name, place in depth.items() if name not in target.head}
        if self.until == "head":
            return set(trunk)
        if isinstance(self.until, float):
            return _first_values(target.model, trunk, self.until)
        first = self.until if isinstance(self.until, int) else self._depth_of(target.model, depth)
        if first > max(trunk.values()) + 1:
            raise SettingsError(
                f"freeze: until: {first}, but the trunk has {max(trunk.values()) + 1} stages", fix="lower until"
            )
        return {name for name, place in trunk.items() if place < first}

    def _depth_of(self, model: nn.Module, depth: dict[str, int]) -> int:
        inside = [place for name, place in depth.items() if name.startswith(f"{self.until}.")]
        if not inside:
            raise SettingsError(
                f"freeze: the model has no stage {self.until!r}", expected=f"head, {', '.join(stage_names(model))}, "
                "a number of stages, or a fraction", fix="correct until",
            )  # fmt: skip
        return min(inside)


def _first_values(model: nn.Module, trunk: dict[str, int], fraction: float) -> set[str]:
    """Return parameters from the image on that hold at most `fraction` of the trunk's values."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    order = sorted(trunk, key=lambda name: trunk[name])
    room, frozen = fraction * sum(sizes[name] for name in trunk), set()
    for name in order:
        room -= sizes[name]
        if room < 0:
            break
        frozen.add(name)
    return frozen
