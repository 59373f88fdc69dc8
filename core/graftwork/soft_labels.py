"""Labels of images that were mixed with others, and the loss on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch.nn.functional as F
from torch import Generator, Tensor

# N images


@dataclass(frozen=True)
class Blend:
    """With which image of the batch each was mixed, (N,), and its own share in the result, (N,), 0 to 1."""

    partners: Tensor
    shares: Tensor


@runtime_checkable
class Mixing(Protocol):
    """An augmentation that mixes the images of a batch, and so their labels."""

    def mixed(self, images: Tensor, generator: Generator) -> tuple[Tensor, Blend]:
        """Return mixed images, and what each is made of."""


def augmented(augmentations: Sequence[Any], images: Tensor, generator: Generator) -> tuple[Tensor, list[Blend]]:
    """Apply augmentations in order; return the images, and a blend for each one that mixes."""
    blends = []
    for augment in augmentations:
        if isinstance(augment, Mixing):
            images, blend = augment.mixed(images, generator)
            blends.append(blend)
        else:
            images = augment(images, generator)
    return images, blends


def soft_labels(labels: Tensor, blends: Sequence[Blend], classes: int) -> Tensor:
    """Return the share of each class in each image, (N, classes), after mixing in that order."""
    soft = F.one_hot(labels, classes).float()
    for blend in blends:
        shares = blend.shares.to(soft)[:, None]
        soft = shares * soft + (1 - shares) * soft[blend.partners]
    return soft


def soft_cross_entropy(logits: Tensor, soft: Tensor, weight: Tensor | None, label_smoothing: float) -> Tensor:
    """Return the mean loss on soft labels; of soft labels that are hard, it is `F.cross_entropy`'s with those.

    With class weights the mean is weighted too. (torch divides by the number of images where labels are soft, and by
    their weights where they are hard.)
    """
    total = F.cross_entropy(logits, soft, weight, label_smoothing=label_smoothing, reduction="sum")
    return total / (len(logits) if weight is None else (soft @ weight).sum())
