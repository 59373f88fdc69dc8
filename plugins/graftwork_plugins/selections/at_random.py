"""Labels for images drawn at random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graftwork.images import Indices, Labels
from graftwork.selection import Features, every_class_first


@dataclass(frozen=True)
class AtRandom:
    """Draw images at random, whatever their class, after one of each class."""

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Indices:
        """Return a random order that begins with an image of each class."""
        return every_class_first(rng.permutation(len(labels)), labels)
