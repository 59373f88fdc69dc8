"""Layer-wise learning-rate decay: the nearer to the image, the smaller the rate (as in BEiT and ELECTRA)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from graftwork.anatomy import depths
from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterOptions, TargetModel


@dataclass(frozen=True)
class LayerDecay:
    """Scale the learning rate by `decay` for every stage below the head, whose scale is 1."""

    decay: Annotated[float, Field(gt=0, le=1)] = 0.75

    @hookimpl
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions]:
        """Return lr·decay^(L−i) for the stage i of L."""
        depth = depths(target.model)
        deepest = max(depth.values())
        return {name: ParameterOptions(lr_scale=self.decay ** (deepest - place)) for name, place in depth.items()}
