"""Score: say, without training, how well a source's features suit the target's labelled images."""

from __future__ import annotations

import torch
from torch import nn

from graftwork.blas_threads import one_blas_thread
from graftwork.engine import Normalise
from graftwork.features import Extracted, extract
from graftwork.files import write_json
from graftwork.images import LabelledImages
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.scoring import SourceScores, score_source, scored_images
from graftwork.settings import ImageFormat
from graftwork.stages import Context
from graftwork.stages.grafting import SourceWeights, load_source_weights
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
    normalise = Normalise(contract, machine)
    shown = _chosen(target, settings.seed, image)
    known = None
    if weights.name not in settings.imports:  # of which there are no images
        known = _chosen(load_split(context.layout.split(weights.name, "train")), settings.seed, image)

    def look(tensors: dict[str, torch.Tensor], images: LabelledImages) -> Extracted:
        model: nn.Module = build_model(settings, context.registry, len(contract.classes), settings.seed)
        model.load_state_dict({**model.state_dict(), **tensors})
        return extract(machine.place(model), images, normalise, machine)

    seen, own, untrained = look(tensors, shown), look(tensors, known) if known else None, look({}, shown)
    with one_blas_thread():  # which for such small matrices is the fastest, too
        return score_source(
            weights.name, seen, own, untrained, shown.labels.numpy(), confidence=settings.evidence.confidence
        )


def _chosen(data: LabelledImages, seed: int, image: ImageFormat) -> LabelledImages:
    """Return the images to score on, in a format; scores of source and target compare only so."""
    return in_format(data, scored_images(data.labels.numpy(), seed), image)
