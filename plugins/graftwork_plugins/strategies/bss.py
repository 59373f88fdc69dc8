"""Batch spectral shrinkage: shrink the smallest singular values of a batch's features (Chen et al., NeurIPS 2019)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from graftwork.hookspecs import hookimpl
from graftwork.strategy import Step, TargetModel


def spectral_shrinkage(features: Tensor, k: int) -> Tensor:
    """Return the sum of the k smallest squared singular values of features (batch, features), in float32."""
    with torch.autocast(features.device.type, enabled=False):
        smallest: Tensor = torch.linalg.svdvals(features.float())[-k:]
    return smallest.square().sum()


@dataclass(frozen=True)
class BSS:
    """Add η · Σ of the k smallest squared singular values of the features: directions that carry nothing fade."""

    reads_images: ClassVar[bool] = False
    eta: Annotated[float, Field(ge=0)] = 1e-3
    k: Annotated[int, Field(ge=1)] = 1

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Ask for the features."""
        target.taps.watch_features(target.model)

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor:
        """Return the penalty."""
        assert step.features is not None
        return self.eta * spectral_shrinkage(step.features, self.k)
