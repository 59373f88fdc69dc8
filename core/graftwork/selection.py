"""Which training images get their labels: what a selection plugin is asked, and what its answer must be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from graftwork.blas_threads import computed_steadily, one_blas_thread
from graftwork.errors import PluginError
from graftwork.images import Images, Indices, Labels
from graftwork.pixel_features import pixel_features

Features = NDArray[np.floating[Any]]  # (images, features)


class Selection(Protocol):
    """A plugin that puts training images into the order in which they get their labels."""

    def order(self, labels: Labels, features: Callable[[], Features], rng: np.random.Generator) -> Iterable[int]:
        """Return the numbers of the images, 0 to len(labels) − 1, each once.

        Every prefix is the selection of that size, so that label budgets are nested, and the first k hold an image of
        each of the k classes. Only as many are taken as there are labels: where one costs time, yield them one by one.
        `features` makes (images, features), which say how alike images are, when it is called.
        """


@dataclass(frozen=True)
class Selector:
    """A selection, and where it has its features from: of pixels, as labels are given before anything is trained."""

    selection: Selection
    features: Callable[[Images, Indices], Features] = pixel_features  # of all images, those of these numbers

    def order(self, images: Images, labels: Labels, chosen: Indices, rng: np.random.Generator) -> Iterator[int]:
        """Yield the numbers in `chosen` in the order in which these images get labels; `labels` are theirs alone.

        However many threads BLAS is given, the order is the same on one machine. Raises PluginError for an order that
        holds an image twice, a number out of range, or too few.
        """
        name, seen = type(self.selection).__name__, np.zeros(len(chosen), dtype=bool)
        with one_blas_thread():  # where order() is no generator, this computes it
            order = self.selection.order(labels, lambda: self.features(images, chosen), rng)
        for place in computed_steadily(order):
            if not 0 <= place < len(chosen) or seen[place]:
                what = "twice" if 0 <= place < len(chosen) else f"of {len(chosen)}"
                raise PluginError(f"The selection {name} gives image {place} {what}", fix="mend its order()")
            seen[place] = True
            yield int(chosen[place])
        if not seen.all():
            raise PluginError(
                f"The selection {name} gives {int(seen.sum())} of {len(chosen)} images", fix="mend its order()"
            )


def every_class_first(order: Indices, labels: Labels) -> Indices:
    """Return the order with the first image of each class before all others, otherwise unchanged."""
    _, firsts = np.unique(labels[order], return_index=True)
    return np.concatenate([order[np.sort(firsts)], np.delete(order, firsts)])


def interleaved(orders: Sequence[Iterator[int]], counts: Sequence[int]) -> Iterator[int]:
    """Merge the classes' own orders of `counts` images: one of each first, then in proportion; lazily."""
    taken, heap = [0] * len(counts), [(-1.0, label) for label, count in enumerate(counts) if count]
    heapify(heap)
    while heap:
        _, label = heappop(heap)
        yield next(orders[label])
        taken[label] += 1
        if taken[label] < counts[label]:
            heappush(heap, ((taken[label] + 0.5) / counts[label], label))
