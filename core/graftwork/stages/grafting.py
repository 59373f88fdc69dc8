"""Bring a source's weights to a target model as a strategy wants them, in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from graftwork.adaptation import Adaptation
from graftwork.agreement import plain_machine
from graftwork.contracts import contract_for, provenance_of
from graftwork.manifest import Manifest, coverage, match, require_coverage, with_trainable
from graftwork.models import build_model, head_tensors
from graftwork.settings import Use
from graftwork.source import SourceModel
from graftwork.stages import Context
from graftwork.stages.source_kit import Kit, take_source
from graftwork.strategy import TargetModel, build_strategy
from graftwork.weights import InputContract, load_weights


@dataclass(frozen=True)
class SourceWeights:
    """A pretrained model's tensors and contract, and the data set that it was trained on."""

    name: str
    tensors: dict[str, Tensor]
    contract: InputContract


@dataclass(frozen=True)
class Graft:
    """What the fine-tunings of one strategy start from; tensors that the manifest calls new are drawn for each seed."""

    start: dict[str, Tensor]
    contract: InputContract
    manifest: Manifest
    kit: Kit | None  # what else of the source the strategy needs


def load_source_weights(context: Context, source: str) -> SourceWeights:
    """Read what was pretrained on the data set `source`."""
    return SourceWeights(source, *load_weights(context.layout.source_weights(source) / "model.safetensors"))


def graft(
    context: Context, name: str, stack: Sequence[Use], source: SourceWeights, card: Mapping[str, Any]
) -> Graft:  # fmt: skip
    """Match the source's tensors to a target model, whose data `card` describes, and account for each of them.

    Raises WeightsError when less than `transfer.minimum_coverage` of the trunk came over.
    """
    settings = context.settings
    strategy = build_strategy(name, stack, context.registry)
    model = build_model(settings, context.registry, len(card["classes"]), settings.seed)
    head = head_tensors(model)
    offered = SourceModel(source.tensors, frozenset(source.contract.head), source.contract.classes)
    chosen = strategy.choose_weights(offered, card["classes"])
    adaptation = Adaptation(model, settings.image_of("target"), source.contract, settings.transfer.channels)
    start, fates = match(chosen, model.state_dict(), source.tensors, adaptation)
    code = {**card["local_code"], **context.registry.local_code(("strategy", use) for use in stack)}
    manifest = Manifest(name, tuple(fates), coverage(fates, head), code, tuple(stack))
    if chosen:
        where = str(context.layout.source_weights(source.name))
        require_coverage(manifest, settings.transfer.minimum_coverage, where=where)
    contract = contract_for(settings, "target", card, head)
    if start:  # the trunk goes on seeing images normalised as it knows them
        contract = contract.model_copy(update=adaptation.normalisation())
        contract = contract.model_copy(update={"provenance": provenance_of(source.contract, name)})
    kit = take_source(context, strategy.needs(), source.tensors, source.contract, source.name)
    known = kit.source(context, plain_machine()) if kit else None
    strategy.prepare_model(TargetModel(model, head, frozenset(start), known, tuple(card["classes"])))
    return Graft(start, contract, replace(manifest, tensors=with_trainable(fates, model)), kit)
