"""The optimizer and the course of its learning rate."""

from __future__ import annotations

import torch

from graftwork.errors import SettingsError, did_you_mean
from graftwork.settings import Training
from graftwork.strategy import ParameterGroup


def build_optimizer(groups: list[ParameterGroup], training: Training, key: str = "finetune") -> torch.optim.Optimizer:
    """Return one of timm's optimizers by name, fused where torch offers it; `key` is where the settings stand."""
    from graftwork import torchvision_operators

    torchvision_operators.define_missing()
    from timm.optim import create_optimizer_v2, list_optimizers

    if training.optimizer not in list_optimizers():
        raise SettingsError(
            f"timm knows no optimizer {training.optimizer!r}", where=f"params.yaml, key {key}.optimizer",
            expected="sgd, adamw, lamb, … (timm.optim.list_optimizers())",
            fix=did_you_mean(training.optimizer, list_optimizers()) or "use adamw",
        )  # fmt: skip
    fused = {"fused": True} if training.optimizer in ("sgd", "adam", "adamw") else {}
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        groups, opt=training.optimizer, lr=training.lr, momentum=training.momentum,
        weight_decay=training.weight_decay, filter_bias_and_bn=False, **fused,
    )  # fmt: skip
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, training: Training, progress: float) -> None:
    """Set every group's rate for a point of the training, 0 to 1: linear warm-up, then linear to zero."""
    warmup = training.warmup_fraction
    factor = progress / warmup if progress < warmup else (1 - progress) / (1 - warmup) if warmup < 1 else 1.0
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor
