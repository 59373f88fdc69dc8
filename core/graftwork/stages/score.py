"""Score: say, without training, how well a source's features suit the target's labelled images."""

from __future__ import annotations

import numpy as np
from torch import nn

from graftwork.engine import Machine, Normalise, prepare
from graftwork.features import Extracted, extract
from graftwork.files import write_json
from graftwork.images import LabelledImages, load_split
from graftwork.models import build_model
from graftwork.scoring import score_source, scored_images
from graftwork.stages import Context
from graftwork.stages.grafting import load_source_weights
from graftwork.weights import InputContract


def score(context: Context, source: str) -> None:
    """Write report/scores/<source>.json. Only training images are looked at."""
    settings, layout = context.settings, context.layout
    machine = prepare(settings.engine)
    weights = load_source_weights(context, source)
    model, untrained = (
        build_model(settings, context.registry, len(weights.contract.classes), settings.seed) for _ in range(2)
    )
    model.load_state_dict(weights.tensors)
    target, own = (_chosen(load_split(layout.split(data, "train")), settings.seed) for data in ("target", source))

    def look(at: nn.Module, images: LabelledImages) -> Extracted:
        return _extract(at, images, weights.contract, machine)

    labels = target.labels.numpy()
    confidence = settings.evidence.confidence
    found = score_source(source, look(model, target), look(model, own), look(untrained, target), labels, confidence)
    write_json(layout.score(source), found.as_json())
    told = found.scores["logme"]
    context.progress.log(
        f"{len(found.scores)} scores on {found.images} images" + (f", LogME {told.mean:.3f}" if told else "")
    )


def _chosen(data: LabelledImages, seed: int) -> LabelledImages:
    chosen = scored_images(data.labels.numpy().astype(np.int64), seed)
    return LabelledImages(data.images[chosen], data.labels[chosen])


def _extract(model: nn.Module, data: LabelledImages, contract: InputContract, machine: Machine) -> Extracted:
    return extract(machine.place(model), data, Normalise(contract, machine), machine)
