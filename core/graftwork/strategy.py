"""A strategy: a stack of plugins, called in order through one typed class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import torch
from torch import Tensor, nn

from graftwork.hookspecs import StrategyHooks
from graftwork.registry import Registry, strategy_manager
from graftwork.settings import Use


class ParameterGroup(TypedDict, total=False):
    """One of the optimizer's groups, in torch's own form."""

    params: list[nn.Parameter]
    lr: float
    weight_decay: float


@dataclass(frozen=True)
class SourceModel:
    """What can be transferred: the source's tensors by name, and the names of its head."""

    tensors: dict[str, Tensor]
    head: frozenset[str]


@dataclass(frozen=True)
class TargetModel:
    """The model in training, the names of its head, and which of its tensors came from the source."""

    model: nn.Module
    head: frozenset[str]
    transferred: frozenset[str]
    notes: dict[str, Any] = field(default_factory=dict)  # a plugin's own, under its class's name

    def trainable(self) -> dict[str, nn.Parameter]:
        """Return the parameters that are not frozen, by name."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}


@dataclass(frozen=True)
class Step:
    """One training step: images (batch, channels, height, width), labels (batch,), logits (batch, classes)."""

    target: TargetModel
    images: Tensor
    labels: Tensor
    logits: Tensor


class Strategy:
    """A named stack of plugins. Every call of a hook goes through here."""

    def __init__(self, name: str, plugins: Sequence[object]) -> None:
        self.name = name
        self._plugins = list(plugins)
        self._manager = strategy_manager()
        for index, plugin in reversed(list(enumerate(plugins))):  # pluggy calls the last registered first
            self._manager.register(plugin, name=f"{index} {type(plugin).__name__}")
        self._hook: StrategyHooks = self._manager.hook  # type: ignore[assignment]  # same names, keywords only

    def choose_weights(self, source: SourceModel) -> dict[str, Tensor]:
        """Return the source's tensors to start from; none for a strategy that transfers nothing."""
        return self._hook.choose_weights(source=source) or {}

    def prepare_model(self, target: TargetModel) -> None:
        """Let the stack freeze and prepare the model."""
        self._hook.prepare_model(target=target)

    def parameter_groups(self, target: TargetModel, weight_decay: float) -> list[ParameterGroup]:
        """Return the optimizer's groups: the stack's own, or the usual two."""
        groups = self._hook.parameter_groups(target=target, weight_decay=weight_decay)
        return groups or usual_groups(target, weight_decay)

    def epoch_started(self, target: TargetModel, epoch: int) -> None:
        """Tell the stack that an epoch starts."""
        self._hook.epoch_started(target=target, epoch=epoch)

    def loss_terms(self, step: Step) -> Tensor | None:
        """Return the sum of the stack's terms, or None where it has none."""
        terms: list[Tensor] = self._hook.loss_terms(step=step)  # type: ignore[assignment]  # pluggy lists them
        return torch.stack(terms).sum() if terms else None


def usual_groups(target: TargetModel, weight_decay: float) -> list[ParameterGroup]:
    """Return two groups: weight decay for matrices and kernels, none for biases and norms (ndim ≤ 1)."""
    decayed = [p for p in target.trainable().values() if p.ndim > 1]
    others = [p for p in target.trainable().values() if p.ndim <= 1]
    groups: list[ParameterGroup] = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_strategy(name: str, stack: Sequence[Use], registry: Registry) -> Strategy:
    """Return the strategy that a stack of params.yaml describes."""
    return Strategy(name, [registry.create("strategy", use) for use in stack])
