"""Compute what a model makes of images once: the features that its head gets, and its answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graftwork.engine import MOST_AT_ONCE, Machine, Normalise, at_once
from graftwork.feature_cache import Activations
from graftwork.images import LabelledImages
from graftwork.prefix import HEAD, Prefix, frozen_prefix
from graftwork.taps import Taps
from graftwork.views import Views


@dataclass(frozen=True)
class Extracted:
    """Features (images, features) and probabilities (images, classes), float32, on the CPU."""

    features: Tensor
    probabilities: Tensor


@contextmanager
def standing_still(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode with nothing to train, for a while."""
    modes = [(module, module.training) for module in model.modules()]
    trains = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, wanted in trains:
            parameter.requires_grad_(wanted)


def trunk(model: nn.Module, views: Views, data: LabelledImages) -> Prefix | None:
    """Return what lies before a model's classifier, as one part; None for models that don't end in it.

    To be used while the model stands still, for images of this format.
    """
    found = frozen_prefix(model, views.probe(data), views.machine)
    return found if found and found.boundary == HEAD else None


def extract_once(model: nn.Module, data: LabelledImages, views: Views) -> Extracted:
    """Do as `extract`, but read the features where they are kept, and keep them where they aren't.

    `views` must be in full precision, as `extract` is.
    """
    with standing_still(model):
        found = trunk(model, views, data)
        kept = views.activations(found, data) if found else None
        if found is None or kept is None:
            return extract(model, data, views.normalise, views.machine)
        return _answered(found, kept, torch.arange(len(kept)), views.machine)


def extract_kept(model: nn.Module, target: LabelledImages, rows: Tensor, views: Views) -> Extracted | None:
    """Return what `extract` would of some of the target's images, where the features of all are kept; else None."""
    with standing_still(model):
        found = trunk(model, views, target)
        kept = views.reuse.cache.find(views.key(found, target, None)) if found else None
        return _answered(found, kept, rows, views.machine) if found and kept else None


@torch.no_grad()
def _answered(found: Prefix, kept: Activations, rows: Tensor, machine: Machine) -> Extracted:
    parts = [kept.batch(chosen, machine.device) for chosen in rows.split(MOST_AT_ONCE)]  # type: ignore[no-untyped-call]
    answers = [found.rest(part).float().softmax(dim=1).cpu() for part in parts]
    return Extracted(torch.cat(parts).float().cpu(), torch.cat(answers))


@torch.no_grad()
def extract(model: nn.Module, data: LabelledImages, normalise: Normalise, machine: Machine) -> Extracted:
    """Run a model over images, in evaluation mode and without augmentation; its modes are left as they were."""
    taps = Taps()
    handle = taps.watch_features(model)
    features, answers = [], []
    with standing_still(model):
        for images, _ in data.batches(at_once(data.shape)):
            logits = model(normalise(images.to(machine.device)))
            assert taps.features is not None
            features.append(taps.features.float().cpu())
            answers.append(logits.float().softmax(dim=1).cpu())
    handle.remove()
    return Extracted(torch.cat(features), torch.cat(answers))
