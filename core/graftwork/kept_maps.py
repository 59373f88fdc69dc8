"""What a model's stages make of the training images, computed once where training sees them as they are."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from graftwork.checkpoints import fingerprint
from graftwork.feature_cache import Activations
from graftwork.training_run import Run

Maps = tuple[Tensor, ...]  # of each stage, (images, …)


@dataclass(frozen=True)
class KeptMaps:
    """The maps of all training images: rows (images, values) that hold the stages one after the other."""

    rows: Activations
    shapes: tuple[torch.Size, ...]  # of one image's maps
    device: torch.device

    def of(self, numbers: Tensor) -> Maps:
        """Return the maps of some of the training images, by their numbers (batch,)."""
        values = self.rows.batch(numbers.cpu(), self.device)
        parts = torch.split(values, [math.prod(shape) for shape in self.shapes], dim=1)
        return tuple(part.view(-1, *shape) for part, shape in zip(parts, self.shapes, strict=True))


@torch.no_grad()
def keep_maps(run: Run, maps: Callable[[Tensor], Maps], sha256: str) -> KeptMaps | None:
    """Return the maps that a frozen model gives for the training images; `sha256` is of the weights that decide them.

    They lie beside other activations, for all seeds. None where training augments images, where nothing is kept, or
    where they take too much room.
    """
    views = run.views
    if views is None or run.augmented:
        return None
    reuse = views.reuse
    key = fingerprint("maps", reuse.key, sha256, run.train.sha256(), run.machine.device.type)
    shapes = tuple(one.shape[1:] for one in maps(views.probe(run.train)))

    def rows() -> Iterator[Tensor]:
        for images, _ in run.batches(run.train):
            views.progress.check()
            yield torch.cat([one.flatten(1).float() for one in maps(images)], dim=1)

    shape = (len(run.train), sum(math.prod(shape) for shape in shapes))
    found = reuse.cache.find(key) or reuse.cache.fill(key, rows(), shape, torch.float32)
    return KeptMaps(found, shapes, run.machine.device) if found else None
