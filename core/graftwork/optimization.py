"""The optimizer and the course of its learning rate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

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
        group["initial_lr"] = training.lr * group.get("lr_scale", 1.0)
    return optimizer


def set_learning_rate(
    optimizer: torch.optim.Optimizer, training: Training, progress: float, scale: float = 1.0
) -> None:  # fmt: skip
    """Set every group's rate for a point of the training, 0 to 1: linear warm-up, then linear to zero, × scale."""
    warmup = training.warmup_fraction
    factor = progress / warmup if progress < warmup else (1 - progress) / (1 - warmup) if warmup < 1 else 1.0
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * (factor * scale)


def optimizer_state(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Return the optimizer's memory by parameter, as `name/key`; numbers become tensors."""
    return {
        f"{name}/{key}": _as_tensor(value)
        for name, parameter in parameters.items()
        for key, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, (Tensor, float, int))
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter], state: Mapping[str, Tensor]
) -> None:
    """Give the optimizer back what `optimizer_state` told of these parameters; others keep what they have."""
    for path, value in state.items():
        name, _, key = path.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None:
            continue
        if value.shape == parameter.shape and value.ndim:
            held: Tensor | float = torch.empty_like(parameter, dtype=value.dtype).copy_(value).detach()
        else:
            held = value.item() if value.dtype in (torch.float64, torch.int64) else value.clone()
        optimizer.state[parameter][key] = held
    _complete_momentum(optimizer)


def _complete_momentum(optimizer: torch.optim.Optimizer) -> None:
    """Give parameters that just began to train the zero momentum which their first step means; fused SGD wants all."""
    states = [optimizer.state[parameter] for parameter in optimizer.state]
    if any("momentum_buffer" in state for state in states):
        for parameter in (p for group in optimizer.param_groups for p in group["params"]):
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


def _as_tensor(value: Tensor | float) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) else torch.int64)
