"""Labels in the classes' proportions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from graftwork.images import Indices, Labels
from graftwork.selection import Features
from graftwork.splits import stratified_order


@dataclass(frozen=True)
class Stratified:
    """Draw images at random, in the classes' proportions at every size."""

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Indices:
        """Return a random order of which every prefix is stratified."""
        return stratified_order(labels, rng)
