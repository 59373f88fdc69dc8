"""Rehearse a run without data: build the model, the optimizers and every strategy, so that mistakes show early."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graftwork.adaptation import Adaptation
from graftwork.engine import prepare
from graftwork.errors import SettingsError
from graftwork.manifest import Manifest, coverage, match, require_coverage
from graftwork.models import build_model, head_tensors
from graftwork.optimization import build_optimizer
from graftwork.plan import plan
from graftwork.registry import Registry
from graftwork.settings import Settings, Use
from graftwork.source import Source, SourceModel, require_images
from graftwork.strategy import Strategy, TargetModel, build_strategy
from graftwork.weights import InputContract


def rehearse(settings: Settings, registry: Registry) -> None:
    """Rehearse every strategy, and the source's training; raise what they raise."""
    prepare(settings.engine)
    for name, stack in settings.strategies.items():
        rehearse_stack(settings, registry, name, stack)
    model = build_model(settings, registry, classes=2, seed=settings.seed, images=settings.source)
    scratch, target = Strategy("source", []), TargetModel(model, head_tensors(model), frozenset())
    build_optimizer(scratch.parameter_groups(target, 0.0), settings.pretrain, "pretrain")


def rehearse_stack(settings: Settings, registry: Registry, name: str, stack: Sequence[Use]) -> float:
    """Let a stack prepare a fresh model as if that were the source; return the share of parameters that it trains.

    Raises SettingsError for a stack that can't be trained on this model.
    """
    model = build_model(settings, registry, classes=2, seed=settings.seed)
    whole, head = sum(parameter.numel() for parameter in model.parameters()), head_tensors(model)
    strategy = build_strategy(name, stack, registry)
    if strategy.needs().images:
        require_images(settings, settings.source)
    origin = build_model(settings, registry, classes=2, seed=settings.seed, images=settings.source)
    chosen = strategy.choose_weights(SourceModel(origin.state_dict(), head_tensors(origin), ("0", "1")), ("0", "1"))
    start = _adapted(settings, name, chosen, model) if chosen else chosen
    source = Source(("0", "1"), lambda: build_model(settings, registry, classes=2, seed=settings.seed))
    target = TargetModel(model, head, frozenset(start), source, ("0", "1"))
    strategy.prepare_model(target)
    if not target.trainable():
        raise SettingsError(
            f"The strategy {name!r} leaves nothing to train", where=f"params.yaml, key strategies.{name}",
            fix="freeze less",
        )  # fmt: skip
    plan(strategy.phases(target, settings.finetune.epochs))
    build_optimizer(strategy.parameter_groups(target, settings.finetune.weight_decay), settings.finetune)
    return sum(parameter.numel() for parameter in target.trainable().values()) / whole


def _adapted(settings: Settings, name: str, chosen: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the source's tensors for the target's images. Raises WeightsError where other images leave too few."""
    there, here = settings.image_of(settings.source), settings.image_of("target")
    if there == here:
        return chosen
    contract = InputContract(
        model={}, classes=("0", "1"), mean=(0.5,) * there.channels, std=(0.25,) * there.channels, size=there.size,
        channels=there.channels, head=(), provenance={},
    )  # fmt: skip
    adaptation = Adaptation(model, here, contract, settings.transfer.channels)
    start, fates = match(chosen, model.state_dict(), chosen, adaptation)
    manifest = Manifest(name, tuple(fates), coverage(fates, head_tensors(model)))
    require_coverage(
        manifest, settings.transfer.minimum_coverage, where=f"params.yaml, key data.{settings.source}.image"
    )
    return start
