"""Build models, and ask them which of their tensors are the head."""

from __future__ import annotations

import threading

import torch
from torch import nn

from graftwork.registry import Registry
from graftwork.seeds import derived_seed
from graftwork.settings import Settings

_building = threading.Lock()  # initialisers draw from torch's global generator


def build_model(settings: Settings, registry: Registry, classes: int, seed: int, images: str = "target") -> nn.Module:
    """Return a model for the target's images, or the source's, with weights drawn from `seed`.

    torch's global generator is left as it was.
    """
    plugin = registry.create("model", settings.model)
    with _building, torch.random.fork_rng(devices=[]):
        torch.manual_seed(derived_seed(seed, "weights"))
        model: nn.Module = plugin.build(classes, settings.image_of(images))
    return model


def head_tensors(model: nn.Module) -> frozenset[str]:
    """Return the names of the classifier's tensors, as timm's `get_classifier` tells."""
    classifier = model.get_classifier()  # type: ignore[operator]  # timm's interface, not nn.Module's
    heads = classifier if isinstance(classifier, tuple) else (classifier,)  # distilled models have two
    prefixes = [name for name, module in model.named_modules() if any(module is head for head in heads)]
    return frozenset(name for name in model.state_dict() if any(name.startswith(f"{prefix}.") for prefix in prefixes))
