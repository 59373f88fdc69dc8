"""Rehearse a run without data: build the model, the optimizers and every strategy, so that mistakes show early."""

from __future__ import annotations

from torch import Tensor, nn

from graftwork.adaptation import Adaptation
from graftwork.engine import prepare
from graftwork.errors import SettingsError
from graftwork.manifest import Manifest, coverage, match, require_coverage
from graftwork.models import build_model, head_tensors
from graftwork.optimization import build_optimizer
from graftwork.plan import plan
from graftwork.registry import Registry
from graftwork.settings import Settings
from graftwork.source import Source, SourceModel
from graftwork.strategy import TargetModel, build_strategy
from graftwork.weights import InputContract


def rehearse(settings: Settings, registry: Registry) -> None:
    """Let each strategy prepare a fresh model as if that were the source; raise what it raises."""
    prepare(settings.engine)
    origin = build_model(settings, registry, classes=2, seed=settings.seed, images="source")
    offered = SourceModel(origin.state_dict(), head_tensors(origin), ("0", "1"))
    for name, stack in settings.strategies.items():
        model = build_model(settings, registry, classes=2, seed=settings.seed)
        head = head_tensors(model)
        strategy = build_strategy(name, stack, registry)
        chosen = strategy.choose_weights(offered, ("0", "1"))
        start = _adapted(settings, name, chosen, model) if chosen else chosen
        source = Source(("0", "1"), lambda: build_model(settings, registry, classes=2, seed=settings.seed))
        target = TargetModel(model, head, frozenset(start), source=source)
        strategy.prepare_model(target)
        if not target.trainable():
            raise SettingsError(
                f"The strategy {name!r} leaves nothing to train", where=f"params.yaml, key strategies.{name}",
                fix="freeze less",
            )  # fmt: skip
        plan(strategy.phases(target, settings.finetune.epochs))
        build_optimizer(strategy.parameter_groups(target, settings.finetune.weight_decay), settings.finetune)
        if not stack:
            build_optimizer(strategy.parameter_groups(target, 0.0), settings.pretrain, "pretrain")


def _adapted(settings: Settings, name: str, chosen: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return the source's tensors for the target's images. Raises WeightsError where other images leave too few."""
    there, here = settings.image_of("source"), settings.image_of("target")
    if there == here:
        return chosen
    contract = InputContract(
        model={}, classes=("0", "1"), mean=(0.5,) * there.channels, std=(0.25,) * there.channels, size=there.size,
        channels=there.channels, head=(), provenance={},
    )  # fmt: skip
    adaptation = Adaptation(model, here, contract, settings.transfer.channels)
    start, fates = match(chosen, model.state_dict(), chosen, adaptation)
    manifest = Manifest(name, tuple(fates), coverage(fates, head_tensors(model)))
    require_coverage(manifest, settings.transfer.minimum_coverage, where="params.yaml, key data.source.image")
    return start
