"""Transfer: take from the source what a strategy wants, and account for every tensor."""

from __future__ import annotations

from dataclasses import replace

from graftwork.adaptation import Adaptation
from graftwork.contracts import contract_for, provenance_of
from graftwork.engine import prepare
from graftwork.errors import listed
from graftwork.files import atomic_folder, read_json, write_json
from graftwork.manifest import Manifest, coverage, match, require_coverage, with_trainable
from graftwork.models import build_model, head_tensors
from graftwork.source import SourceModel
from graftwork.stages import Context
from graftwork.stages.source_kit import take_source
from graftwork.strategy import TargetModel, build_strategy
from graftwork.weights import load_weights, save_weights


def transfer(context: Context, name: str) -> None:
    """Write weights/start/<strategy>: start.safetensors with the transferred tensors, and manifest.json.

    Beside them what else of the source the strategy needs: its whole model, some of its training images. Tensors
    that the manifest calls new are drawn later, for each seed. Raises WeightsError when less than
    `transfer.minimum_coverage` of the trunk came over, or a tensor holds NaN.
    """
    settings, layout = context.settings, context.layout
    strategy = build_strategy(name, settings.strategies[name], context.registry)
    source_file = layout.source_weights / "model.safetensors"
    tensors, source = load_weights(source_file)
    card = read_json(layout.card("target"))
    model = build_model(settings, context.registry, len(card["classes"]), settings.seed)
    head = head_tensors(model)
    chosen = strategy.choose_weights(SourceModel(tensors, frozenset(source.head), source.classes), card["classes"])
    adaptation = Adaptation(model, settings.image_of("target"), source, settings.transfer.channels)
    start, fates = match(chosen, model.state_dict(), tensors, adaptation)
    code = context.registry.local_code(("strategy", use) for use in settings.strategies[name])
    manifest = Manifest(name, tuple(fates), coverage(fates, head), {**card["local_code"], **code})
    if chosen:
        require_coverage(manifest, settings.transfer.minimum_coverage, where=str(source_file))
    contract = contract_for(settings, "target", card, head)
    if start:  # the trunk goes on seeing images normalised as it knows them
        contract = contract.model_copy(update=adaptation.normalisation())
        contract = contract.model_copy(update={"provenance": provenance_of(source, name)})
    kit = take_source(context, strategy.needs(), tensors, source)
    machine = prepare(settings.engine)
    known = kit.source(context, machine) if kit else None
    strategy.prepare_model(TargetModel(model, head, frozenset(start), source=known))
    manifest = replace(manifest, tensors=with_trainable(fates, model))
    with atomic_folder(layout.start(name)) as folder:
        save_weights(folder / "start.safetensors", start, contract)
        write_json(folder / "manifest.json", manifest.as_json())
        if kit:
            kit.save(folder)
    _tell(context, manifest, head)


def _tell(context: Context, manifest: Manifest, head: frozenset[str]) -> None:
    """Say what came over, and which tensors of the trunk were wanted but have a shape that nothing adapts."""
    counts = ", ".join(f"{count} {kind}" for kind, count in manifest.counts().items())
    context.progress.log(f"{counts}; {manifest.coverage:.0%} of the trunk from the source")
    new = [fate for fate in manifest.tensors if fate.kind == "new" and fate.name not in head]
    unfit = [f"{fate.name} ({fate.why})" for fate in new if fate.source_shape is not None]
    if unfit:
        context.progress.log(f"Drawn anew, as their shapes differ: {listed(unfit, 4)}")
