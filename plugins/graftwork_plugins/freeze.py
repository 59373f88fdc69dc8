"""Freeze the trunk, train the head: a linear probe inside the loop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.hookspecs import hookimpl
from graftwork.strategy import TargetModel


@dataclass(frozen=True)
class Freeze:
    """Keep the trunk as it is and train the head alone.

    `batch_norm` says what happens to the trunk's batch normalisation: `eval` uses the running statistics and
    leaves them alone, `update` lets them follow the target's images, `train_affine` also trains scale and shift.
    """

    batch_norm: Literal["eval", "update", "train_affine"] = "eval"

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze all parameters outside the head."""
        for name, parameter in target.model.named_parameters():
            parameter.requires_grad_(name in target.head)
        if self.batch_norm == "train_affine":
            for module in _batch_norms(target.model):
                module.requires_grad_(True)

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Put batch normalisation into evaluation mode: `requires_grad_(False)` alone moves its statistics."""
        if self.batch_norm == "eval":
            for module in _batch_norms(target.model):
                module.eval()


def _batch_norms(model: nn.Module) -> list[nn.Module]:
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]
