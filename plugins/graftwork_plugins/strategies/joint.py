"""Joint training: one trunk, two heads, λ_s·L_s + λ_t·L_t, source images replayed beside the target's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from graftwork.anatomy import batch_norms
from graftwork.hookspecs import hookimpl
from graftwork.images import LabelledImages
from graftwork.source import Needs
from graftwork.strategy import Step, TargetModel
from graftwork.training_run import Outcome, Run


@dataclass(frozen=True)
class Joint:
    """Train on both tasks at once; an epoch is one of the target's images.

    `images` of the source's training images are kept for replay. `batch_norm: target` lets the statistics follow
    the target's images alone; `both` lets them follow both. After `joint_epochs` (None: never) the target's loss alone
    is left: joint training, then fine-tuning.
    """

    source_weight: Annotated[float, Field(ge=0)] = 1.0  # λ_s
    target_weight: Annotated[float, Field(gt=0)] = 1.0  # λ_t
    images: Annotated[int, Field(ge=2)] = 2000
    batch_norm: Literal["target", "both"] = "target"
    joint_epochs: Annotated[int, Field(ge=1)] | None = None

    @hookimpl
    def needs(self) -> Needs:
        """Ask for the source model and images."""
        return Needs(model=True, images=self.images)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Take the source's head along."""
        assert target.source is not None
        target.extra["Joint"] = target.source.head()

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Remember the source's images, and how to show them."""
        run.target.taps.watch_features(run.target.model)
        run.target.notes["Joint"], run.target.notes["Joint is over"] = run, False

    @hookimpl
    def epoch_started(self, target: TargetModel, epoch: int) -> None:
        """Know whether both tasks are still trained."""
        target.notes["Joint is over"] = self.joint_epochs is not None and epoch >= self.joint_epochs

    @hookimpl
    def loss_terms(self, step: Step) -> Tensor | None:
        """Return λ_s·L_s + (λ_t − 1)·L_t: the loop itself adds L_t once, weighed and smoothed as the settings say."""
        if step.target.notes["Joint is over"]:
            return None
        terms = []
        if self.target_weight != 1:
            assert step.loss is not None, "the loop gives it"
            terms.append((self.target_weight - 1) * step.loss)
        if self.source_weight > 0:
            terms.append(self.source_weight * self._source_loss(step))
        return torch.stack(terms).sum() if terms else None

    @hookimpl
    def training_ended(self, outcome: Outcome) -> None:
        """Note what the last epoch's trunk still knows of the source, and whether the two tasks pull one way."""
        run = outcome.run
        assert run.target.source is not None and run.target.source.images is not None
        replay, head = run.target.source.images, run.target.extra["Joint"]
        answers = head(run.features(run.target.model, replay)).argmax(dim=1).cpu()
        outcome.notes["source_accuracy"] = float((answers == replay.labels).double().mean())
        outcome.notes["gradient_cosine"] = _cosine(run, replay)

    def _source_loss(self, step: Step) -> Tensor:
        run: Run = step.target.notes["Joint"]
        assert run.target.source is not None and run.target.source.images is not None
        replay = run.target.source.images
        chosen = torch.randint(len(replay), (len(step.images),), generator=step.draws)
        device = run.machine.device
        images, labels = run.normalise(replay.batch(chosen).to(device)), replay.labels[chosen].to(device)
        norms = [norm for norm in batch_norms(step.target.model) if norm.training and self.batch_norm == "target"]
        for norm in norms:
            norm.eval()
        with run.machine.precision():
            step.target.model(images)
        for norm in norms:
            norm.train()
        assert step.target.taps.features is not None
        return F.cross_entropy(step.target.extra["Joint"](step.target.taps.features.float()), labels)


def _cosine(run: Run, replay: LabelledImages) -> float:
    """Return the cosine, −1 to 1, of both losses' gradients in the trunk, on a batch of each task's images."""
    model, taps = run.target.model.eval(), run.target.taps
    trunk = [p for name, p in run.target.trainable().items() if name not in run.target.head and "extra." not in name]
    gradients = []
    for data, own in ((replay, False), (run.train, True)):
        images, labels = next(run.batches(data))
        logits = model(images)
        assert taps.features is not None
        answers = logits if own else run.target.extra["Joint"](taps.features.float())
        found = torch.autograd.grad(F.cross_entropy(answers.float(), labels), trunk)
        gradients.append(torch.cat([gradient.flatten() for gradient in found]))
    ours, theirs = gradients
    return float(F.cosine_similarity(ours, theirs, dim=0))
