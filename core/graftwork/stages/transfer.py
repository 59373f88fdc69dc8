"""Transfer: take from the source what a strategy wants, and account for every tensor."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from graftwork.contracts import contract_for, provenance_of
from graftwork.files import read_json, write_json
from graftwork.manifest import Fate, Manifest, coverage, match, require_coverage
from graftwork.models import build_model, head_tensors
from graftwork.stages import Context
from graftwork.strategy import SourceModel, Strategy, TargetModel, build_strategy
from graftwork.weights import load_weights, save_weights


def transfer(context: Context, name: str) -> None:
    """Write weights/start/<strategy>: start.safetensors with the transferred tensors, and manifest.json.

    Tensors that the manifest calls new are drawn later, for each seed. Raises WeightsError when less than
    `transfer.minimum_coverage` of the trunk came over, or a tensor holds NaN.
    """
    settings, layout = context.settings, context.layout
    strategy = build_strategy(name, settings.strategies[name], context.registry)
    source_file = layout.source_weights / "model.safetensors"
    tensors, source = load_weights(source_file)
    card = read_json(layout.card("target"))
    model = build_model(settings, context.registry, len(card["classes"]), settings.seed)
    head = head_tensors(model)
    chosen = strategy.choose_weights(SourceModel(tensors, frozenset(source.head)))
    start, fates = match(chosen, model.state_dict(), tensors, stem=_stem(model))
    code = context.registry.local_code(("strategy", use) for use in settings.strategies[name])
    manifest = Manifest(name, tuple(fates), coverage(fates, head), {**card["local_code"], **code})
    if chosen:
        require_coverage(manifest, settings.transfer.minimum_coverage, where=str(source_file))
    manifest = replace(manifest, tensors=tuple(_with_trainable(fates, model, head, frozenset(start), strategy)))
    contract = contract_for(settings, "target", card, head)
    if start:  # the trunk goes on seeing images normalised as it knows them
        contract = contract.model_copy(update=_normalisation(source.mean, source.std, settings.image.channels))
        contract = contract.model_copy(update={"provenance": provenance_of(source, name)})
    folder = layout.start(name)
    save_weights(folder / "start.safetensors", start, contract)
    write_json(folder / "manifest.json", manifest.as_json())
    counts = ", ".join(f"{count} {kind}" for kind, count in manifest.counts().items())
    context.progress.log(f"{counts}; {manifest.coverage:.0%} of the trunk from the source")


def _with_trainable(
    fates: list[Fate], model: nn.Module, head: frozenset[str], transferred: frozenset[str], strategy: Strategy
) -> list[Fate]:
    """Let the strategy freeze the model, and note what it left trainable."""
    strategy.prepare_model(TargetModel(model, head, transferred))
    trainable = {name: p.requires_grad for name, p in model.named_parameters()}
    return [f if f.kind == "dropped" else replace(f, trainable=trainable.get(f.name)) for f in fates]


def _normalisation(mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> dict[str, tuple[float, ...]]:
    """Return the source's statistics for this number of channels."""
    if len(mean) != channels:
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    return {"mean": mean, "std": std}


def _stem(model: nn.Module) -> str | None:
    """Return the name of the kernel that reads the image: the first convolution's."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return f"{name}.weight"
    return None
