"""What moves while a model is trained, as a checkpoint holds it: weights, optimizer, figures, the last good state."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from graftwork.aside import Aside
from graftwork.checkpoints import Checkpoint
from graftwork.class_weights import class_weights
from graftwork.job import Job
from graftwork.optimization import build_optimizer, optimizer_state, restore_optimizer
from graftwork.plan import PlannedEpoch
from graftwork.stepping import Stepper
from graftwork.strategy import TargetModel
from graftwork.training_run import Tensors

GOOD = "good-"  # begins the names of the last good state's tensors in a checkpoint


class TrainingState:
    """The state of one training between two epochs."""

    def __init__(self, job: Job, plan: Sequence[PlannedEpoch]) -> None:
        self.job, self.plan = job, plan
        self.model, self.extra = job.target.model, job.target.extra
        self.may_train = set(job.target.trainable())
        weights = {"model": self.model.state_dict(), "extra": self.extra.state_dict()}
        self.start = Aside(weights, job.checkpoints.folder)
        self.optimizer = self._optimizer()
        self.mishaps: list[str] = []  # what went wrong and was mended, in sentences
        of_classes = class_weights(job.training.class_weights, job.train.labels.to(job.machine.device))
        self.stepper = Stepper(job, of_classes, self.mishaps)
        self.history: list[dict[str, float]] = []
        self.best: Tensors = {}
        self.best_accuracy, self.best_epoch, self.next_epoch, self.seconds = -1.0, 0, 0, 0.0
        self.finished: dict[str, Tensors] = {}
        self.halvings = 0  # of the learning rate
        self.good: Checkpoint | None = None  # after the epoch of the phase with the lowest loss
        self.good_loss = math.inf

    @property
    def goes_back(self) -> bool:
        """Whether a loss that isn't finite is mended: then a good state is kept in memory."""
        return self.job.training.on_divergence == "halve"

    def enter(self, planned: PlannedEpoch) -> None:
        """Enter a phase: the weights it starts from, what it trains, an optimizer for that."""
        if self.goes_back:
            self.good, self.good_loss = self._good(), math.inf
        if planned.phase.from_start:
            start = self.start.read()
            self.model.load_state_dict(start["model"])
            self.extra.load_state_dict(start["extra"])
        elif planned.begins_course and self.best:
            self.model.load_state_dict(self.best)
        if planned.begins_course:
            self.best, self.best_accuracy, self.best_epoch = {}, -1.0, 0
        before = self._named_optimizer_state() if not planned.begins_course else {}
        self._thaw(planned)
        self.optimizer = self._optimizer()
        restore_optimizer(self.optimizer, self.job.target.trainable(), before)

    def validated(self, epoch: int, loss: float, accuracy: float) -> None:
        """Note what an epoch reached, and keep its weights if none were better."""
        self.history.append({"epoch": epoch + 1, "loss": loss, "validation_accuracy": accuracy})
        if accuracy >= self.best_accuracy:  # of equals the later one: its learning rate was lower
            self.best, self.best_accuracy, self.best_epoch = copied(self.model.state_dict()), accuracy, epoch + 1

    def ended(self, planned: PlannedEpoch, loss: float, seconds: float) -> None:
        """Count an epoch, whose weights are finite."""
        if planned.ends_course:
            self.finished[planned.phase.name] = self.best
        self.next_epoch += 1
        self.seconds += seconds
        if self.goes_back and loss < self.good_loss:
            self.good, self.good_loss = self._good(), loss

    def go_back(self, told: str) -> None:
        """Take up the last good state, from which the learning rate is half of what it was."""
        assert self.good is not None
        with self.lasting():
            self.restore(self.good)
        self.halvings += 1
        self.mishaps.append(told)

    @contextmanager
    def lasting(self) -> Iterator[None]:
        """Keep, whatever is restored meanwhile, what a training learnt from its mishaps, and how long it took."""
        kept = self.halvings, self.stepper.parts, self.seconds, list(self.mishaps)
        try:
            yield
        finally:
            self.halvings, self.stepper.parts, self.seconds, self.mishaps[:] = kept

    def snapshot(self) -> Checkpoint:
        """Return the state, whose tensors move on with the training."""
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "extra": self.extra.state_dict(),
            "best": self.best,
            "optimizer": self._named_optimizer_state(),
        }
        tensors |= {f"finished-{index}": held for index, held in enumerate(self.finished.values())}
        return Checkpoint(tensors, self._figures())

    def to_be_saved(self) -> Checkpoint:
        """Return the state with the last good one in it."""
        now = self.snapshot()
        if self.good is None:
            return now
        good = {GOOD + name: held for name, held in self.good.tensors.items()}
        return Checkpoint({**now.tensors, **good}, {**now.state, "good": self.good.state, "good_loss": self.good_loss})

    def take_up(self, saved: Checkpoint) -> None:
        """Go on from a checkpoint that `to_be_saved` made."""
        self.restore(saved)
        if "good" in saved.state:
            good = {name.removeprefix(GOOD): held for name, held in saved.tensors.items() if name.startswith(GOOD)}
            self.good, self.good_loss = Checkpoint(good, saved.state["good"]), saved.state["good_loss"]

    def restore(self, saved: Checkpoint) -> None:
        """Set weights, optimizer and figures; the good state stays."""
        state, device = saved.state, self.job.machine.device
        on_device = {key: {n: t.to(device) for n, t in held.items()} for key, held in saved.tensors.items()}
        self.history, self.next_epoch, self.seconds = list(state["history"]), state["next_epoch"], state["seconds"]
        self.best, self.best_epoch, self.best_accuracy = on_device["best"], state["best_epoch"], state["best_accuracy"]
        self.finished = {name: on_device[f"finished-{index}"] for index, name in enumerate(state["finished"])}
        self.halvings, self.stepper.parts = state.get("halvings", 0), state.get("parts", 1)
        self.mishaps[:] = state.get("mishaps", [])
        self.model.load_state_dict(on_device["model"])
        self.extra.load_state_dict(on_device["extra"])
        self.optimizer.zero_grad()  # a step that broke off left its gradients
        if self.next_epoch == 0:  # the first epoch enters a phase, which makes its optimizer
            return
        self._thaw(self.plan[self.next_epoch - 1])
        self.optimizer = self._optimizer()
        restore_optimizer(self.optimizer, self.job.target.trainable(), on_device["optimizer"])
        for group, kept in zip(self.optimizer.param_groups, state["groups"], strict=True):
            group.update(kept)

    def beginning(self) -> Checkpoint:
        """Return the state before the first epoch."""
        figures = {"next_epoch": 0, "best_epoch": 0, "best_accuracy": -1.0, "seconds": 0.0, "history": []}
        tensors = {**self.start.read(), "best": {}, "optimizer": {}}
        return Checkpoint(tensors, {**figures, "finished": [], "groups": []})

    def _good(self) -> Checkpoint:
        """Return a snapshot whose tensors stay as they are; the best ones do so anyway."""
        now = self.snapshot()
        moving = {name: copied(now.tensors[name]) for name in ("model", "extra", "optimizer")}
        return Checkpoint({**now.tensors, **moving}, now.state)

    def _figures(self) -> dict[str, Any]:
        groups = [{k: v for k, v in g.items() if type(v) in (int, float)} for g in self.optimizer.param_groups]
        return {
            "next_epoch": self.next_epoch, "best_epoch": self.best_epoch, "best_accuracy": self.best_accuracy,
            "seconds": self.seconds, "history": list(self.history), "finished": list(self.finished), "groups": groups,
            "halvings": self.halvings, "parts": self.stepper.parts, "mishaps": list(self.mishaps),
        }  # fmt: skip

    def _thaw(self, planned: PlannedEpoch) -> None:
        """Let exactly those parameters train that the phase and the strategy both allow."""
        trains = planned.phase.trains
        for name, parameter in _all_parameters(self.job.target).items():
            allowed = trains is None or name in trains or name.startswith("extra.")
            parameter.requires_grad_(name in self.may_train and allowed)

    def _optimizer(self) -> torch.optim.Optimizer:
        groups = self.job.strategy.parameter_groups(self.job.target, self.job.training.weight_decay)
        return build_optimizer(groups, self.job.training)

    def _named_optimizer_state(self) -> dict[str, Tensor]:
        return optimizer_state(self.optimizer, _all_parameters(self.job.target))


def copied(tensors: Mapping[str, Tensor]) -> Tensors:
    """Return copies, which stay as they are."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def _all_parameters(target: TargetModel) -> dict[str, torch.nn.Parameter]:
    extra = {f"extra.{name}": parameter for name, parameter in target.extra.named_parameters()}
    return {**dict(target.model.named_parameters()), **extra}
