"""Views of a data set – its images as they are, or augmented once – as a model's frozen part answers to them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from graftwork.checkpoints import fingerprint
from graftwork.engine import Machine, Normalise, at_once
from graftwork.feature_cache import Activations, FeatureCache, few_enough
from graftwork.images import LabelledImages
from graftwork.prefix import Prefix
from graftwork.progress import Progress
from graftwork.seeds import generator

PROBED = 4  # images of noise that a frozen part is looked for with


@dataclass(frozen=True)
class Reuse:
    """Where activations are kept, and what decides them beside weights and images: the same for all strategies."""

    cache: FeatureCache
    key: str  # of the model's code, the engine and the normalisation
    augmentation: str  # of the augmentations' settings and code
    seed: int  # from which views are drawn, whatever the seed of a training


@dataclass(frozen=True)
class Views:
    """Shows a frozen part of a model the images of a data set."""

    reuse: Reuse
    augmentation: Sequence[Any]
    normalise: Normalise
    machine: Machine
    progress: Progress

    def probe(self, data: LabelledImages) -> Tensor:
        """Return noise (PROBED, C, H, W), as normalised images of this format, to look for a frozen part with.

        An entry's name holds what the part makes of it, and so depends on no other images than the entry's own.
        """
        noise = 4 * torch.rand((PROBED, *data.shape), generator=torch.Generator().manual_seed(0)) - 2
        return noise.to(self.machine.device, memory_format=self.machine.memory_format)

    def key(self, prefix: Prefix, data: LabelledImages, view: int | None) -> str:
        """Return the name of the activations of a view; None is the images as they are."""
        drawn = () if view is None else (self.reuse.augmentation, self.reuse.seed, view)
        arithmetic = (self.machine.device.type, self.machine.autocast, str(self.machine.memory_format))
        return fingerprint(self.reuse.key, arithmetic, prefix.sha256, data.sha256(), drawn)

    def fit(self, prefix: Prefix, images: int) -> bool:
        """Tell whether the activations of so many images, all views together, are few enough to be kept."""
        size = images * prefix.sample[0].nbytes
        if few_enough(size):
            return True
        self.progress.log(f"Up to {prefix.boundary} {images} images take {size / 2**20:.1f} MiB: too much to be kept")
        return False

    def activations(self, prefix: Prefix, data: LabelledImages, view: int | None = None) -> Activations | None:
        """Return the activations of a view, computed where they aren't kept; None where they need too much room."""
        key, cache = self.key(prefix, data, view), self.reuse.cache
        found = cache.find(key)
        if found is not None:
            return found
        shape = (len(data), *prefix.sample.shape[1:])
        dtype, size = prefix.sample.dtype, math.prod(shape) * prefix.sample.element_size() / 2**20
        found = cache.fill(key, self.computed(prefix, data, view), shape, dtype)
        what = "images" if view is None else f"view {view + 1} of the images"
        if found is None:
            self.progress.log(f"Up to {prefix.boundary} {len(data)} {what} take {size:.1f} MiB: too much to be kept")
        else:
            self.progress.log(f"{len(data)} {what} kept as computed up to {prefix.boundary}: {size:.1f} MiB")
        return found

    def computed(self, prefix: Prefix, data: LabelledImages, view: int | None) -> Iterator[Tensor]:
        """Yield the activations of a view, batch by batch."""
        draws = generator(self.machine.device, self.reuse.seed, "view", -1 if view is None else view)
        for images, _ in data.batches(at_once(data.shape)):
            self.progress.check()
            images = images.to(self.machine.device)
            for augment in () if view is None else self.augmentation:
                images = augment(images, draws)
            with torch.no_grad(), self.machine.precision():
                yield prefix.activations(self.normalise(images))
