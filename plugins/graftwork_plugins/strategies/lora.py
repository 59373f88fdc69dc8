"""LoRA: train a low-rank update of each weight, merged in the end (Hu et al., ICLR 2022, arXiv 2106.09685)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from graftwork.anatomy import hold_frozen_batch_norms
from graftwork.hookspecs import hookimpl
from graftwork.seeds import generator
from graftwork.strategy import TargetModel
from graftwork.training_run import Outcome, Run


class LowRank(nn.Module):
    """Add up·down·scale to a weight, seen as a matrix (outputs, everything else); it begins at zero."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight.shape[0], weight[0].numel()
        rank = min(rank, outputs, inputs)
        self.down = nn.Parameter(torch.zeros(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        """Return the updated weight, in the weight's own memory format."""
        return weight + torch.empty_like(weight).copy_((self.up @ self.down).view(weight.shape)) * self.scale


@dataclass(frozen=True)
class LoRA:
    """Freeze the trunk; train low-rank updates of its linear and convolution weights, and the head.

    The delivered weights hold the updates merged in: the model is the usual one. `rank` is cut to what a weight
    allows; the update is scaled by `alpha`/rank.
    """

    excludes: ClassVar[tuple[str, ...]] = ("BitFit", "NormTune", "GradualUnfreeze", "WiSEFT", "Soup", "Delta")
    rank: Annotated[int, Field(ge=1)] = 8
    alpha: Annotated[float, Field(gt=0)] = 8.0

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Freeze the trunk and put the adapters in."""
        for name, parameter in target.model.named_parameters():
            parameter.requires_grad_(name in target.head)
        for name, module in list(target.model.named_modules()):
            if isinstance(module, (nn.Linear, nn.Conv2d)) and f"{name}.weight" not in target.head:
                adapter = LowRank(module.weight, self.rank, self.alpha).to(module.weight.device)
                parametrize.register_parametrization(module, "weight", adapter)

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Draw the adapters' inner halves; with the outer ones zero, the model still answers as before."""
        draws = generator(torch.device("cpu"), run.seed, "lora")
        for adapter in _adapters(run.target.model):
            bound = math.sqrt(3 / adapter.down.shape[1])
            with torch.no_grad():
                adapter.down.copy_((torch.rand(adapter.down.shape, generator=draws) * 2 - 1) * bound)

    @hookimpl
    def epoch_started(self, target: TargetModel) -> None:
        """Keep the statistics of batch normalisation, as its weights."""
        hold_frozen_batch_norms(target.model)

    @hookimpl
    def training_ended(self, outcome: Outcome) -> None:
        """Merge the adapters into the weights."""
        model = outcome.run.target.model
        model.load_state_dict(outcome.tensors)
        for module in list(model.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
        outcome.tensors = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _adapters(model: nn.Module) -> list[LowRank]:
    return [module for module in model.modules() if isinstance(module, LowRank)]
