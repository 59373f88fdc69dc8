"""Labels that leave no image far from a labelled one.

Sener & Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, ICLR 2018, arXiv 1708.00489;
the greedy algorithm is Gonzalez's, Theoretical Computer Science 1985. By distances between pixels it is behind random
(benchmarks/RESULTS.md): it is for features that tell more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from graftwork.images import Labels
from graftwork.selection import Features


@dataclass(frozen=True)
class KCenter:
    """Take the image farthest from all taken so far; it covers the data, and takes outliers first."""

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterator[int]:
        """Yield the image nearest to the mean, then the farthest each time; at first only of classes not yet there.

        From the point where every class is there, the largest distance to a taken image is at most twice the least
        that as many further images could leave. A step costs images × features multiplications.
        """
        points = features()
        points = points - points.mean(axis=0)
        norms = np.einsum("nd,nd->n", points, points)
        missing = np.ones(len(labels), dtype=bool)  # those whose class isn't there yet
        apart = np.full(len(labels), np.inf)  # squared distance to the nearest that is taken
        chosen = int(norms.argmin())
        for _ in range(len(labels)):
            yield chosen
            missing &= labels != labels[chosen]
            distance = norms + norms[chosen] - 2 * (points @ points[chosen])
            apart = np.minimum(apart, np.maximum(distance, 0))
            apart[chosen] = -1  # below that of its own duplicates
            chosen = int(np.where(missing, apart, -2).argmax() if missing.any() else apart.argmax())
