"""Stochastic normalisation: mix running and batch statistics, channel by channel (Kou et al., NeurIPS 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from graftwork.anatomy import batch_norms
from graftwork.errors import SettingsError
from graftwork.hookspecs import hookimpl
from graftwork.strategy import TargetModel


@dataclass(frozen=True)
class StochNorm:
    """In training, normalise each channel by the batch's statistics with probability `p`, else by the running ones."""

    p: Annotated[float, Field(ge=0, le=1)] = 0.5

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Hook every batch norm. Raises SettingsError for a model without any."""
        norms = batch_norms(target.model)
        if not norms:
            raise SettingsError(
                "stochnorm needs batch normalisation, and the model has none", fix="take it out of this stack"
            )
        for norm in norms if self.p < 1 else []:
            _mix(norm, self.p)


def _mix(norm: nn.Module, p: float) -> None:
    """Let a batch norm answer with (1 − s)·running + s·batch, s ~ Bernoulli(p) for each channel."""
    by_running: list[Tensor] = []

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        by_running.clear()
        if module.training and inputs:
            module.training = False  # the running statistics as they are before this batch
            by_running.append(type(module).forward(module, inputs[0]))
            module.training = True

    def after(_module: nn.Module, _inputs: tuple[Tensor, ...], by_batch: Tensor) -> Tensor:
        if not by_running:
            return by_batch
        chosen = torch.rand(by_batch.shape[1], device=by_batch.device) < p
        shape = (1, -1) + (1,) * (by_batch.ndim - 2)
        return torch.where(chosen.view(shape), by_batch, by_running.pop())

    norm.register_forward_pre_hook(before)
    norm.register_forward_hook(after)
