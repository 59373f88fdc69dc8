"""Labels whose images stand, on average, for their class.

Welling, Herding Dynamical Weights to Learn, ICML 2009; for each class as in iCaRL (Rebuffi, Kolesnikov, Sperl &
Lampert, CVPR 2017, arXiv 1611.07725, algorithm 4). By pixels it is ahead of random with 4 labels a class, and behind
with 20 (benchmarks/RESULTS.md): all it takes is typical.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from graftwork.images import Indices, Labels
from graftwork.selection import Features, interleaved


@dataclass(frozen=True)
class Herding:
    """Take of each class, in proportion, images whose mean stays nearest to the mean of the class; no outliers."""

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterator[int]:
        """Yield one image of each class, then the classes in proportion."""
        points, counts = features(), np.bincount(labels)
        orders = [_herded(points, np.flatnonzero(labels == label)) for label in range(len(counts))]
        return interleaved(orders, counts.tolist())


def _herded(points: Features, members: Indices) -> Iterator[int]:
    """Yield a class's images: the k-th brings the mean of the first k nearest to the mean of all.

    ‖μ − (s + x)/k‖² is least where ‖x‖² − 2x·(kμ − s) is, with the sum s of those taken.
    """
    own = points[members] - points[members].mean(axis=0)  # so that μ is 0
    norms = np.einsum("nd,nd->n", own, own)
    taken, total = np.zeros(len(members), dtype=bool), np.zeros(own.shape[1], dtype=own.dtype)
    for _ in members:
        chosen = int(np.where(taken, np.inf, norms + 2 * (own @ total)).argmin())
        taken[chosen] = True
        total = total + own[chosen]
        yield int(members[chosen])
