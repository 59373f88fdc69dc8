"""The training loop: one for every strategy."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from graftwork.checkpoints import Checkpoint, Checkpoints
from graftwork.engine import Machine, Normalise, predict
from graftwork.errors import TrainingError
from graftwork.images import LabelledImages
from graftwork.optimization import build_optimizer, set_learning_rate
from graftwork.progress import Progress
from graftwork.seeds import derived_seed, generator
from graftwork.settings import Training
from graftwork.strategy import Step, Strategy, TargetModel


@dataclass(frozen=True)
class Trained:
    """The weights that did best on validation, and how training went, a row for each validated epoch."""

    tensors: dict[str, Tensor]
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float


@dataclass(frozen=True)
class Job:
    """All that one training needs; the test images are not among it."""

    target: TargetModel
    strategy: Strategy
    train: LabelledImages
    validation: LabelledImages
    augmentation: Sequence[Any]
    normalise: Normalise
    training: Training
    machine: Machine
    seed: int
    progress: Progress
    checkpoints: Checkpoints


def train(job: Job) -> Trained:
    """Train for the set number of epochs and return the weights of the epoch that validated best.

    Goes on from the newest checkpoint of the same settings. Every epoch draws from (seed, epoch) alone, so the end
    is the same to the bit on the CPU. Raises TrainingError when the loss stops being finite.
    """
    loop = _Loop(job)
    for epoch in range(loop.next_epoch, job.training.epochs):
        loop.run_epoch(epoch)
        job.progress.advance((epoch + 1) / job.training.epochs, loop.summary())
    return Trained(loop.best, loop.history, loop.best_epoch, loop.seconds)


class _Loop:
    """The state that moves while training."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = job.target.model
        self.train = job.train.to(job.machine.device)
        groups = job.strategy.parameter_groups(job.target, job.training.weight_decay)
        self.optimizer = build_optimizer(groups, job.training)
        self.batches = max(1, len(self.train) // job.training.batch_size)  # a smaller last batch is left out
        self.history: list[dict[str, float]] = []
        self.best: dict[str, Tensor] = {}
        self.best_epoch, self.next_epoch, self.seconds = -1, 0, 0.0
        saved = job.checkpoints.newest()
        if saved:
            self._restore(saved)

    def run_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        job = self.job
        torch.manual_seed(derived_seed(job.seed, "epoch", epoch))  # dropout and the like
        draws = generator(job.machine.device, job.seed, "batches", epoch)
        self.model.train()
        job.strategy.epoch_started(job.target, epoch)
        order = torch.randperm(len(self.train), generator=draws, device=draws.device)
        losses = []
        for batch in range(self.batches):
            job.progress.check()
            set_learning_rate(self.optimizer, job.training, self._fraction(epoch, batch))
            chosen = order[batch * job.training.batch_size : (batch + 1) * job.training.batch_size]
            losses.append(self._step(self.train.images[chosen], self.train.labels[chosen], draws))
        last = epoch + 1 == job.training.epochs
        loss = self._mean_finite(torch.stack(losses), epoch)
        if last or (epoch + 1) % job.training.validate_every_epochs == 0:
            self._validate(epoch, loss)
        self.next_epoch = epoch + 1
        self.seconds += time.perf_counter() - started
        job.checkpoints.save(self._snapshot, force=last)

    def summary(self) -> str:
        """Say where training is."""
        if not self.history:
            return f"epoch {self.next_epoch}"
        row = self.history[-1]
        return f"epoch {row['epoch']:.0f}, loss {row['loss']:.3f}, validation {row['validation_accuracy']:.1%}"

    def _step(self, images: Tensor, labels: Tensor, draws: torch.Generator) -> Tensor:
        job = self.job
        for augment in job.augmentation:
            images = augment(images, draws)
        images = job.normalise(images)
        with job.machine.precision():
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=job.training.label_smoothing)
        extra = job.strategy.loss_terms(Step(job.target, images, labels, logits))
        total = loss if extra is None else loss + extra
        total.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total.detach()

    def _fraction(self, epoch: int, batch: int) -> float:
        return (epoch * self.batches + batch + 1) / (self.job.training.epochs * self.batches + 1)

    def _mean_finite(self, losses: Tensor, epoch: int) -> float:
        bad = (~torch.isfinite(losses)).nonzero()
        if not len(bad):
            return float(losses.mean())
        step = epoch * self.batches + int(bad[0])
        kept = self.job.checkpoints.keep_last_good(self.best) if self.best else "none: no epoch was validated"
        raise TrainingError(
            f"The loss is not finite at step {step} (epoch {epoch + 1}), learning rate "
            f"{self.optimizer.param_groups[0]['lr']:.3g}; last good weights: {kept}",
            where=f"training {self.job.strategy.name}, seed {self.job.seed}",
            fix=f"lower lr (now {self.job.training.lr:g}) in params.yaml, or raise warmup_fraction",
        )

    def _validate(self, epoch: int, loss: float) -> None:
        probabilities = predict(self.model, self.job.validation, self.job.normalise, self.job.machine)
        correct = probabilities.argmax(dim=1) == self.job.validation.labels
        accuracy = float(correct.double().mean())
        best = max((row["validation_accuracy"] for row in self.history), default=-1.0)
        self.history.append({"epoch": epoch + 1, "loss": loss, "validation_accuracy": accuracy})
        if accuracy >= best:  # of equals the later one: its learning rate was lower
            self.best, self.best_epoch = copy.deepcopy(self.model.state_dict()), epoch + 1

    def _snapshot(self) -> Checkpoint:
        state = {"next_epoch": self.next_epoch, "best_epoch": self.best_epoch, "seconds": self.seconds}
        tensors = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimizer": self._optimizer_tensors(),
        }
        return Checkpoint(tensors, {**state, "history": self.history})

    def _restore(self, saved: Checkpoint) -> None:
        self.model.load_state_dict(saved.tensors["model"])
        self.best = {name: t.to(self.job.machine.device) for name, t in saved.tensors["best"].items()}
        state = self.optimizer.state_dict()
        state["state"] = {}
        for key, tensor in saved.tensors["optimizer"].items():
            index, _, name = key.partition(".")
            state["state"].setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict(state)
        self.history = saved.state["history"]
        self.next_epoch, self.best_epoch = saved.state["next_epoch"], saved.state["best_epoch"]
        self.seconds = saved.state["seconds"]
        self.job.progress.log(f"going on after epoch {self.next_epoch}")

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        states = self.optimizer.state_dict()["state"]
        return {
            f"{index}.{name}": value
            for index, state in states.items()
            for name, value in state.items()
            if isinstance(value, Tensor)
        }
