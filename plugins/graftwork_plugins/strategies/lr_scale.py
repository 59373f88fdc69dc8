"""A learning rate of the stack's own: what trains few parameters often wants a higher one than full fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterOptions, TargetModel


@dataclass(frozen=True)
class LRScale:
    """Multiply the learning rate of everything that this stack trains by `scale`."""

    scale: Annotated[float, Field(gt=0)] = 1.0

    @hookimpl
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions]:
        """Scale every trainable parameter's rate."""
        return dict.fromkeys(target.trainable(), ParameterOptions(lr_scale=self.scale))
