"""What the model is trained on: images, or what its frozen part makes of them, which is computed once."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import torch
from torch import Tensor

from graftwork.engine import MOST_AT_ONCE, Machine, predict, probabilities
from graftwork.feature_cache import Activations
from graftwork.prefix import Prefix, frozen_prefix
from graftwork.soft_labels import Blend, Mixing, augmented
from graftwork.views import Views
from graftwork.warps import fused

if TYPE_CHECKING:
    from graftwork.job import Job


class Shown(NamedTuple):
    """A batch as the model gets it: inputs (batch, …), labels (batch,), and with what its images were mixed."""

    inputs: Tensor
    labels: Tensor
    blends: Sequence[Blend] = ()


class Inputs(Protocol):
    """One epoch's inputs, and the forward pass that belongs to them."""

    def stream(self, order: Tensor, size: int, draws: torch.Generator) -> Generator[Shown, None, None]:
        """Yield the batches of an order. Close it where the loop over it may end early."""

    def answer(self, inputs: Tensor) -> Tensor:
        """Return the logits (batch, classes), in the model's modes."""

    def probabilities(self) -> Tensor:
        """Return those of the validation images (images, classes); the model stays in evaluation mode."""


@dataclass(frozen=True)
class LiveInputs:
    """Images, augmented anew for each batch, and the whole model."""

    job: Job
    augmentations: Sequence[Any]  # fused
    forward: Callable[[Tensor], Tensor]  # the model, or it compiled

    def stream(self, order: Tensor, size: int, draws: torch.Generator) -> Generator[Shown, None, None]:
        """Yield normalised images."""
        with closing(self.job.run.train.stream(order, size)) as batches:
            for images, labels in batches:
                images, blends = augmented(self.augmentations, images, draws)
                yield Shown(self.job.normalise(images), labels, blends)

    def answer(self, inputs: Tensor) -> Tensor:
        """Run the model."""
        return self.forward(inputs)

    def probabilities(self) -> Tensor:
        """Run the model over the validation images."""
        return predict(self.job.target.model, self.job.validation, self.job.normalise, self.job.machine)


@dataclass(frozen=True)
class CachedInputs:
    """Activations of one view of the training images, those of the validation images, and the rest of the model."""

    prefix: Prefix
    machine: Machine
    labels: Tensor
    train: Activations
    validation: Activations

    def stream(self, order: Tensor, size: int, _draws: torch.Generator) -> Generator[Shown, None, None]:
        """Yield activations: the view was drawn before."""
        for chosen in torch.split(order, size):
            yield Shown(self.train.batch(chosen.cpu(), self.machine.device), self.labels[chosen])

    def answer(self, inputs: Tensor) -> Tensor:
        """Run the rest."""
        return self.prefix.rest(inputs)

    def probabilities(self) -> Tensor:
        """Run the rest over the validation images."""
        self.prefix.model.eval()
        whole, device = self.validation, self.machine.device
        return probabilities(
            self.prefix.rest,
            lambda size: (whole.batch(slice(start, start + size), device) for start in range(0, len(whole), size)),
            self.machine, MOST_AT_ONCE,
        )  # fmt: skip


class Feed:
    """Chooses for each epoch what is trained on: activations wherever part of the model stands still, else images.

    What stands still is looked for when something that decides it has changed: what trains, modes, frozen weights.
    Whether its activations are kept is decided then, for all epochs, from their size alone: the weights depend on it.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._augmentations = job, fused(job.augmentation)
        self._views: Views | None = None
        mixed = any(isinstance(one, Mixing) for one in job.augmentation)  # with another partner in every epoch
        if job.reuse and job.training.cached_views and not job.strategy.reads_images and not mixed:
            self._views = Views(job.reuse, self._augmentations, job.normalise, job.machine, job.progress)
        self._prefix: Prefix | None = None
        self._found_for: object = None

    def inputs(self, epoch: int, forward: Callable[[Tensor], Tensor]) -> Inputs:
        """Return an epoch's inputs; to be asked when the model is in its modes of training.

        `forward` is how the whole model is called.
        """
        job, views = self._job, self._views
        live = LiveInputs(job, self._augmentations, forward)
        prefix = self._frozen(views) if views else None
        if views is None or prefix is None:
            return live
        view = epoch % job.training.cached_views if job.augmentation else None
        train, validation = views.activations(prefix, job.train, view), views.activations(prefix, job.validation)
        assert train is not None and validation is not None, "they fit together"
        return CachedInputs(prefix, job.machine, job.run.train.labels, train, validation)

    def _frozen(self, views: Views) -> Prefix | None:
        if self._state() != self._found_for:
            found = frozen_prefix(self._job.target.model, views.probe(self._job.train), self._job.machine)
            self._prefix = found if found and views.fit(found, self._images()) else None
            self._found_for = self._state()
        return self._prefix

    def _images(self) -> int:
        """Return of how many images, each view counted, activations would be kept."""
        job, training = self._job, self._job.training
        shown = min(training.cached_views, training.epochs) if job.augmentation else 1
        return shown * len(job.train) + len(job.validation)

    def _state(self) -> object:
        """Return what tells whether the frozen part may have changed; torch counts the writes to a tensor."""
        model = self._job.target.model
        trains = [parameter.requires_grad for parameter in model.parameters()]
        modes = [module.training for module in model.modules()]
        held = self._prefix.tensors.values() if self._prefix else ()
        return trains, modes, [(tensor.data_ptr(), tensor._version) for tensor in held]
