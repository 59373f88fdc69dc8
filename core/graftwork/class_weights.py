"""What a training image counts in the loss."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

ClassWeights = Literal["none", "balanced"]


def class_weights(how: ClassWeights, labels: Tensor) -> Tensor | None:
    """Return a weight for each class (classes,) as float32, or None for equal ones; the last class must be there.

    `balanced` gives n/(k·n_c), so that every class counts the same (King & Zeng, Logistic Regression in Rare Events
    Data, Political Analysis 2001, as in scikit-learn). Their mean over the images is 1: the loss keeps its scale. A
    class without images gets 0.
    """
    if how == "none":
        return None
    counts = labels.bincount()
    weights = len(labels) / ((counts > 0).sum() * counts.clamp_min(1))
    return torch.where(counts > 0, weights, 0.0).float()
