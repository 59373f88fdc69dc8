"""Score: say, without training, how well a source's features suit the target's labelled images."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from graftwork.blas_threads import one_blas_thread
from graftwork.features import Extracted, extract, extract_kept
from graftwork.files import write_json
from graftwork.images import LabelledImages
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.scoring import SourceScores, score_source, scored_images
from graftwork.stages import Context
from graftwork.stages.grafting import SourceWeights, load_source_weights
from graftwork.stages.reusing import trunk_views
from graftwork.storage import in_format, load_split


def score(context: Context, source: str) -> None:
    """Write report/scores/<source>.json. Only training images are looked at, in the target's format."""
    target = load_split(context.layout.split("target", "train"))
    found = score_on(context, load_source_weights(context, source), target)
    write_json(context.layout.score(source), found.as_json())
    context.progress.log(f"{len(found.scores)} scores on {found.images} of the target's training images")


def score_on(context: Context, weights: SourceWeights, target: LabelledImages) -> SourceScores:
    """Score a source for labelled images of the target."""
    settings = context.settings
    machine, image = context.machine("target"), settings.image_of("target")
    tensors, contract = for_target(settings, context.registry, weights.tensors, weights.contract)
    views = trunk_views(context, contract, replace(machine, autocast=False))
    chosen = scored_images(target.labels.numpy(), settings.seed)
    shown = in_format(target, chosen, image)
    known = None
    if weights.name not in settings.imports:  # of which there are no images
        whole = load_split(context.layout.split(weights.name, "train"))
        known = in_format(whole, scored_images(whole.labels.numpy(), settings.seed), image)  # as only so they compare

    def built(tensors: dict[str, torch.Tensor]) -> nn.Module:
        model: nn.Module = build_model(settings, context.registry, len(contract.classes), settings.seed)
        model.load_state_dict({**model.state_dict(), **tensors})
        return machine.place(model)

    def look(model: nn.Module, images: LabelledImages) -> Extracted:
        return extract(model, images, views.normalise, machine)

    trained = built(tensors)
    seen = extract_kept(trained, target, torch.from_numpy(chosen), views) or look(trained, shown)
    own, untrained = look(trained, known) if known else None, look(built({}), shown)
    with one_blas_thread():  # which for such small matrices is the fastest, too
        return score_source(
            weights.name, seen, own, untrained, shown.labels.numpy(), confidence=settings.evidence.confidence
        )
