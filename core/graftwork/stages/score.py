"""Score: say, without training, how well a source's features suit the target's labelled images."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from graftwork.engine import Normalise, prepare
from graftwork.features import Extracted, extract
from graftwork.files import write_json
from graftwork.images import LabelledImages, conform, load_split
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.scoring import score_source, scored_images
from graftwork.settings import ImageFormat
from graftwork.stages import Context
from graftwork.stages.grafting import load_source_weights


def score(context: Context, source: str) -> None:
    """Write report/scores/<source>.json. Only training images are looked at, in the target's format."""
    settings, layout = context.settings, context.layout
    machine = prepare(settings.engine)
    weights = load_source_weights(context, source)
    tensors, contract = for_target(settings, context.registry, weights.tensors, weights.contract)
    normalise, image = Normalise(contract, machine), settings.image_of("target")
    target, own = (
        _chosen(load_split(layout.split(data, "train")), settings.seed, image) for data in ("target", source)
    )

    def look(tensors: dict[str, torch.Tensor], images: LabelledImages) -> Extracted:
        model: nn.Module = build_model(settings, context.registry, len(contract.classes), settings.seed)
        model.load_state_dict({**model.state_dict(), **tensors})
        return extract(machine.place(model), images, normalise, machine)

    found = score_source(
        source, look(tensors, target), look(tensors, own), untrained=look({}, target), labels=target.labels.numpy(),
        confidence=settings.evidence.confidence,
    )  # fmt: skip
    write_json(layout.score(source), found.as_json())
    context.progress.log(f"{len(found.scores)} scores on {found.images} of the target's training images")


def _chosen(data: LabelledImages, seed: int, image: ImageFormat) -> LabelledImages:
    """Return the images to score on, in a format; scores of source and target compare only so."""
    chosen = scored_images(data.labels.numpy(), seed)
    pixels = conform(np.ascontiguousarray(data.images[chosen].numpy()), image)
    return LabelledImages(torch.from_numpy(pixels), data.labels[chosen])
