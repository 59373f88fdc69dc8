"""One step of training: loss, gradients, the optimizer; in parts where a whole batch doesn't fit into memory."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.inputs import Inputs, Shown
from graftwork.job import Job
from graftwork.memory import ran_out, tidy_up
from graftwork.soft_labels import soft_cross_entropy, soft_labels
from graftwork.strategy import Step


class Batch(NamedTuple):
    """What one step is taken on; `numbers` says which of the training images these are, (batch,)."""

    inputs: Inputs
    shown: Shown
    numbers: Tensor
    draws: torch.Generator  # for the strategy's own


class Part(NamedTuple):
    """Some of a batch's rows, and their shares: of its images, and of the weights of their classes."""

    rows: slice
    of_images: float = 1.0
    of_weights: float = 1.0

    def take(self, tensor: Tensor) -> Tensor:
        """Return its rows."""
        return tensor if self is WHOLE else tensor[self.rows]


WHOLE = Part(slice(None))


@dataclass
class Stepper:
    """Takes the steps of one training, or of this process's share of them.

    Once memory ran out, each batch goes through the model in `parts`. The gradients of parts and shares add up to the
    batch's: its loss is the mean over all of its images, as before. What looks at a batch as a whole sees one part at a
    time: batch norms (those of shares see all), and terms like `bss`.
    """

    job: Job
    class_weights: Tensor | None
    mishaps: list[str]  # where it is noted that memory ran out
    parts: int = 1

    def step(self, batch: Batch, optimizer: torch.optim.Optimizer) -> Tensor:
        """Move the weights once; return the loss with the strategy's terms. Raises what torch raises at one image."""
        strategy = self.job.strategy
        while (done := self._tried(batch)) is None:
            optimizer.zero_grad()
            tidy_up()
            self._halve(len(batch.shown.labels))
        step, total = done
        self.job.team.reduce(optimizer)
        strategy.gradients_ready(step)
        optimizer.step()
        strategy.step_ended(step, optimizer)
        optimizer.zero_grad()
        return total

    def _tried(self, batch: Batch) -> tuple[Step, Tensor] | None:
        """Return the step with its gradients in place and its loss; None where memory ran out and parts may help."""
        try:
            parts = self._cut(batch.shown)
            return self._gradients(batch, parts[0]) if len(parts) == 1 else self._in_parts(batch, parts)
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error) or self.parts >= self._most_parts(len(batch.shown.labels)):
                raise
        return None  # out of the handler, whose traceback holds on to the tensors of the failed try

    def _halve(self, images: int) -> None:
        self.parts = min(2 * self.parts, self._most_parts(images))
        told = (
            f"memory ran out: each batch of {images} went on in {self.parts} parts of {-(-images // self.parts)}, "
            "whose gradients add up; batch norms see the parts"
        )
        self.mishaps.append(told)
        self.job.progress.log(told)

    def _most_parts(self, images: int) -> int:
        """Return into how many parts a batch can be cut: a batch norm that learns needs two images.

        Processes that share a batch wait for each other at every part, so that none may cut on its own.
        """
        if self.job.team.size > 1:
            return 1
        learns = any(isinstance(part, _BatchNorm) and part.training for part in self.job.target.model.modules())
        return max(1, images // 2) if learns else images

    def _gradients(self, batch: Batch, part: Part) -> tuple[Step, Tensor]:
        """Add the gradients of one part; return it as a step, and its share of the batch's loss."""
        job, shown = self.job, batch.shown
        inputs, numbers = part.take(shown.inputs), part.take(batch.numbers)
        with job.machine.precision(), job.team.together():
            logits = batch.inputs.answer(inputs)
        soft = part.take(soft_labels(shown.labels, shown.blends, logits.shape[1])) if shown.blends else None
        labels = part.take(shown.labels) if soft is None else soft.argmax(dim=1)
        loss = self._loss(logits.float(), labels if soft is None else soft)
        if part is not WHOLE:
            loss = loss * (part.of_weights / part.of_images)
        taps = job.target.taps
        step = Step(job.target, inputs, labels, logits, taps.features, taps.maps, batch.draws, loss, soft, numbers)
        extra = job.strategy.loss_terms(step)
        total = loss if extra is None else loss + extra
        if part is not WHOLE:
            total = total * part.of_images
        total.backward()  # type: ignore[no-untyped-call]
        return step, total.detach()

    def _in_parts(self, batch: Batch, parts: list[Part]) -> tuple[Step, Tensor]:
        """Add the gradients of all parts; return the batch as one step, without features and maps, and its loss."""
        steps, totals = [], []
        for part in parts:
            step, total = self._gradients(batch, part)
            assert step.loss is not None
            share = step.loss.detach() * part.of_images
            steps.append(replace(step, logits=step.logits.detach(), loss=share, features=None, maps=()))
            totals.append(total)
        labels, logits, losses = zip(*((step.labels, step.logits, step.loss) for step in steps), strict=True)
        soft = [step.soft_labels for step in steps if step.soft_labels is not None]
        whole = replace(
            steps[0], images=batch.shown.inputs, labels=torch.cat(labels), logits=torch.cat(logits),
            numbers=batch.numbers, loss=torch.stack(losses).sum(), soft_labels=torch.cat(soft) if soft else None,
        )  # fmt: skip
        return whole, torch.stack(totals).sum()

    def _cut(self, shown: Shown) -> list[Part]:
        """Return what goes through the model here: all of the batch, this process's share of it, or parts of all.

        Their sizes differ by one image at most.
        """
        images, team = len(shown.labels), self.job.team
        parts = min(self.parts, images)
        if team.size == parts == 1:
            return [WHOLE]
        if team.size > 1:
            return [self._part(shown, team.share(images))]
        return [
            self._part(shown, slice(images * number // parts, images * (number + 1) // parts))
            for number in range(parts)
        ]

    def _part(self, shown: Shown, rows: slice) -> Part:
        weights = self._weights(shown)
        share = (rows.stop - rows.start) / len(shown.labels)
        return Part(rows, share, share if weights is None else float(weights[rows].sum() / weights.sum()))

    def _weights(self, shown: Shown) -> Tensor | None:
        """Return what each image weighs in the mean loss, (batch,); None where all weigh the same."""
        if self.class_weights is None:
            return None
        if shown.blends:
            return soft_labels(shown.labels, shown.blends, len(self.class_weights)) @ self.class_weights
        return self.class_weights[shown.labels]

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss on labels (batch,), or on soft ones (batch, classes)."""
        smoothing = self.job.training.label_smoothing
        if labels.ndim == 2:
            return soft_cross_entropy(logits, labels, self.class_weights, smoothing)
        return F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=smoothing)
