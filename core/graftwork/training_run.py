"""What a strategy sees when training starts and when it has ended: data, measurements, the weights that came out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from graftwork.anatomy import batch_norms
from graftwork.engine import Machine, Normalise, at_once, predict, share_correct
from graftwork.features import Extracted, extract, extract_once
from graftwork.images import LabelledImages
from graftwork.strategy import TargetModel
from graftwork.views import Views

Tensors = dict[str, Tensor]
SMALLEST_PROBABILITY = 1e-30


@dataclass(frozen=True)
class Run:
    """One training: what is trained, and on what. The test images are not among it."""

    target: TargetModel
    train: LabelledImages
    validation: LabelledImages
    normalise: Normalise
    machine: Machine
    seed: int
    class_weights: Tensor | None = None  # (classes,), for what sees each image once; None: equal ones
    views: Views | None = None  # where features are kept, in full precision; None: nowhere
    augmented: bool = True  # whether training sees the images otherwise than they are

    def batches(self, data: LabelledImages, size: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield normalised images (batch, channels, height, width) and labels (batch,), without augmentation."""
        for images, labels in data.batches(size or at_once(data.shape)):
            device = self.machine.device
            yield self.normalise(images.to(device)), labels.to(device)

    def features(self, model: nn.Module, data: LabelledImages) -> Tensor:
        """Return what a model's head gets (images, features), in evaluation mode, as float32 on the device."""
        return self._extracted(model, data).features.to(self.machine.device)

    def log_probabilities(self, model: nn.Module, data: LabelledImages) -> Tensor:
        """Return those of a model in evaluation mode (images, classes), on the device: logits, up to a constant."""
        answers = self._extracted(model, data).probabilities.clamp_min(SMALLEST_PROBABILITY)
        return answers.log().to(self.machine.device)

    def _extracted(self, model: nn.Module, data: LabelledImages) -> Extracted:
        if self.views is None:
            return extract(model, data, self.normalise, self.machine)
        return extract_once(model, data, self.views)

    @torch.no_grad()
    def validation_accuracy(self, tensors: Mapping[str, Tensor]) -> float:
        """Return the share of validation images that the model gets right with these weights."""
        model = self.target.model
        kept = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        model.load_state_dict(tensors)
        probabilities = predict(model, self.validation, self.normalise, self.machine)
        model.load_state_dict(kept)
        return share_correct(probabilities, self.validation.labels)

    @torch.no_grad()
    def with_fresh_statistics(self, tensors: Tensors) -> Tensors:
        """Return the weights with batch normalisation's statistics measured anew on the training images.

        Averaged weights need it; frozen norms, and models without batch normalisation, stay as they are.
        """
        model = self.target.model
        norms = [norm for norm in batch_norms(model) if any(p.requires_grad for p in norm.parameters())]
        if not norms:
            return tensors
        model.load_state_dict(tensors)
        model.eval()
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over the batches
            norm.train()
        for images, _ in self.batches(self.train):
            model(images)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        return {name: tensor.clone() for name, tensor in model.state_dict().items()}


@dataclass
class Outcome:
    """The weights that a training gave, for the stack to work on; `tensors` is what will be delivered."""

    run: Run
    tensors: Tensors
    finished: dict[str, Tensors]  # the best weights of each part that began from the learning rate's start
    notes: dict[str, float] = field(default_factory=dict)  # figures worth telling, such as the α that was chosen
