"""Rehearse a run without data: build the model, the optimizers and every strategy, so that mistakes show early."""

from __future__ import annotations

from graftwork.engine import prepare
from graftwork.errors import SettingsError
from graftwork.models import build_model, head_tensors
from graftwork.optimization import build_optimizer
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.strategy import ParameterGroup, SourceModel, TargetModel, build_strategy


def rehearse(settings: Settings, registry: Registry) -> None:
    """Let each strategy prepare a fresh model as if that were the source; raise what it raises."""
    prepare(settings.engine)
    for name, stack in settings.strategies.items():
        model = build_model(settings, registry, classes=2, seed=settings.seed)
        head = head_tensors(model)
        strategy = build_strategy(name, stack, registry)
        chosen = strategy.choose_weights(SourceModel(model.state_dict(), head))
        target = TargetModel(model, head, frozenset(chosen))
        strategy.prepare_model(target)
        _check_groups(name, target, strategy.parameter_groups(target, settings.finetune.weight_decay))
        build_optimizer(strategy.parameter_groups(target, settings.finetune.weight_decay), settings.finetune)
        if not stack:
            build_optimizer(strategy.parameter_groups(target, 0.0), settings.pretrain, "pretrain")


def _check_groups(name: str, target: TargetModel, groups: list[ParameterGroup]) -> None:
    """Raise unless the groups hold every trainable parameter exactly once."""
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter): key for key, parameter in target.trainable().items()}
    if not trainable:
        raise SettingsError(
            f"The strategy {name!r} leaves nothing to train", where=f"params.yaml, key strategies.{name}",
            fix="freeze less",
        )  # fmt: skip
    if sorted(grouped) != sorted(trainable):
        missing = [key for identity, key in trainable.items() if identity not in grouped]
        raise SettingsError(
            f"The optimizer's groups of strategy {name!r} don't hold every trainable parameter exactly once",
            where=f"params.yaml, key strategies.{name}", expected=f"also {missing[:3]}" if missing else "no doubles",
            fix="mend parameter_groups of its plugins",
        )  # fmt: skip
