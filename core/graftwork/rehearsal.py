"""Rehearse a run without data: build the model, the optimizers and every strategy, so that mistakes show early."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from graftwork.adaptation import Adaptation
from graftwork.engine import prepare
from graftwork.errors import SettingsError, WeightsError
from graftwork.manifest import Manifest, coverage, match, require_coverage
from graftwork.models import build_model, head_tensors
from graftwork.optimization import build_optimizer
from graftwork.params_file import sweep_of
from graftwork.plan import plan
from graftwork.reference import for_target
from graftwork.registry import Registry
from graftwork.settings import Settings, Use
from graftwork.source import Source, SourceModel, require_images
from graftwork.strategy import Strategy, TargetModel, build_strategy
from graftwork.weights import InputContract


def rehearse(settings: Settings, registry: Registry) -> None:
    """Rehearse every strategy, what is done with the candidates, and the source's training; raise what they raise."""
    prepare(settings.engine)
    for name, stack in settings.strategies.items():
        rehearse_stack(settings, registry, name, stack)
    for source in settings.sources:
        _rehearse_score(settings, registry, source)
    model = build_model(settings, registry, classes=2, seed=settings.seed, images=settings.source)
    scratch, target = Strategy("source", []), TargetModel(model, head_tensors(model), frozenset())
    build_optimizer(scratch.parameter_groups(target, 0.0), settings.pretrain, "pretrain")


def rehearse_sweep(settings: Settings, registry: Registry) -> None:
    """Rehearse a sweep's strategies from the sources whose images are other than the first's, or not there at all.

    From the others it would be what `rehearse` has done.
    """
    first, *candidates = settings.sources
    for source in candidates:
        if source in settings.imports or settings.image_of(source) != settings.image_of(first):
            for name in sweep_of(settings).strategies:
                rehearse_stack(settings, registry, name, settings.strategies[name], source)


def rehearse_stack(
    settings: Settings, registry: Registry, name: str, stack: Sequence[Use], source: str | None = None
) -> float:  # fmt: skip
    """Let a stack prepare a fresh model as if that were the source; return the share of parameters that it trains.

    Without a name the source is the first. Raises SettingsError for a stack that can't be trained on this model, or
    that needs images where of a source there are weights alone; WeightsError where too little of the source fits.
    """
    source = source or settings.source
    model = build_model(settings, registry, classes=2, seed=settings.seed)
    whole, head = sum(parameter.numel() for parameter in model.parameters()), head_tensors(model)
    strategy = build_strategy(name, stack, registry)
    if strategy.needs().images:
        require_images(settings, source)
    origin = build_model(settings, registry, classes=2, seed=settings.seed, images=source)
    chosen = strategy.choose_weights(SourceModel(origin.state_dict(), head_tensors(origin), ("0", "1")), ("0", "1"))
    start = _adapted(settings, name, source, chosen, model) if chosen else chosen
    known = Source(("0", "1"), lambda: build_model(settings, registry, classes=2, seed=settings.seed))
    target = TargetModel(model, head, frozenset(start), known, ("0", "1"))
    strategy.prepare_model(target)
    if not target.trainable():
        raise SettingsError(
            f"The strategy {name!r} leaves nothing to train", where=f"params.yaml, key strategies.{name}",
            fix="freeze less",
        )  # fmt: skip
    plan(strategy.phases(target, settings.finetune.epochs))
    build_optimizer(strategy.parameter_groups(target, settings.finetune.weight_decay), settings.finetune)
    return sum(parameter.numel() for parameter in target.trainable().values()) / whole


def _adapted(
    settings: Settings, name: str, source: str, chosen: dict[str, Tensor], model: nn.Module
) -> dict[str, Tensor]:  # fmt: skip
    """Return the source's tensors for the target's images. Raises WeightsError where other images leave too few."""
    here = settings.image_of("target")
    if settings.image_of(source) == here:
        return chosen
    adaptation = Adaptation(model, here, _contract(settings, source), settings.transfer.channels)
    start, fates = match(chosen, model.state_dict(), chosen, adaptation)
    manifest = Manifest(name, tuple(fates), coverage(fates, head_tensors(model)))
    require_coverage(manifest, settings.transfer.minimum_coverage, where=_image_key(settings, source))
    return start


def _rehearse_score(settings: Settings, registry: Registry, source: str) -> None:
    """Raise WeightsError where a source's model can't be made to read the target's images, as it is for its score."""
    if settings.image_of(source) == settings.image_of("target"):
        return
    origin = build_model(settings, registry, classes=2, seed=settings.seed, images=source)
    try:
        for_target(settings, registry, origin.state_dict(), _contract(settings, source))
    except WeightsError as error:
        where = _image_key(settings, source)
        raise WeightsError(error.what, where=where, expected=error.expected, fix=error.fix) from None


def _contract(settings: Settings, source: str) -> InputContract:
    """Return what a source's images are like, their statistics made up."""
    image = settings.image_of(source)
    return InputContract(
        model={}, classes=("0", "1"), mean=(0.5,) * image.channels, std=(0.25,) * image.channels, size=image.size,
        channels=image.channels, head=(), provenance={},
    )  # fmt: skip


def _image_key(settings: Settings, source: str) -> str:
    """Say where the format of a source's images stands."""
    return f"params.yaml, key {'imports' if source in settings.imports else 'data'}.{source}.image"
