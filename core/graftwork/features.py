"""Compute what a model makes of images once: the features that its head gets, and its answers."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from graftwork.engine import Machine, Normalise
from graftwork.images import LabelledImages
from graftwork.taps import Taps


@dataclass(frozen=True)
class Extracted:
    """Features (images, features) and probabilities (images, classes), float32, on the CPU."""

    features: Tensor
    probabilities: Tensor


@torch.no_grad()
def extract(
    model: nn.Module, data: LabelledImages, normalise: Normalise, machine: Machine, batch_size: int = 256
) -> Extracted:  # fmt: skip
    """Run a model over images, in evaluation mode and without augmentation; its modes are left as they were."""
    taps, modes = Taps(), {name: module.training for name, module in model.named_modules()}
    handle = taps.watch_features(model)
    model.eval()
    features, answers = [], []
    for images, _ in data.batches(batch_size):
        logits = model(normalise(images.to(machine.device)))
        assert taps.features is not None
        features.append(taps.features.float().cpu())
        answers.append(logits.float().softmax(dim=1).cpu())
    handle.remove()
    for name, module in model.named_modules():
        module.training = modes[name]
    return Extracted(torch.cat(features), torch.cat(answers))
