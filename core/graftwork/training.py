"""The training loop: one for every strategy."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.calibration import fit_temperature
from graftwork.checkpoints import Checkpoint
from graftwork.class_weights import class_weights
from graftwork.engine import predict, watched
from graftwork.errors import TrainingError
from graftwork.images import LabelledImages
from graftwork.inputs import Feed, Inputs, Shown
from graftwork.job import Job, Trained
from graftwork.optimization import build_optimizer, optimizer_state, restore_optimizer, set_learning_rate
from graftwork.plan import PlannedEpoch, plan
from graftwork.sampling import epoch_order
from graftwork.seeds import derived_seed, generator
from graftwork.soft_labels import soft_cross_entropy, soft_labels
from graftwork.strategy import Step, TargetModel
from graftwork.training_run import Outcome, Tensors


def train(job: Job) -> Trained:
    """Train as the strategy's phases say and return the weights that validated best, or what it made of them.

    Goes on from the newest checkpoint of the same settings. Every epoch draws from (seed, epoch) alone, so the end
    is the same to the bit on the CPU. Raises TrainingError when the loss stops being finite.
    """
    loop = _Loop(job)
    for epoch in range(loop.next_epoch, len(loop.plan)):
        loop.run_epoch(epoch)
        job.progress.advance((epoch + 1) / len(loop.plan), loop.summary())
    return loop.trained()


class _Loop:
    """The state that moves while training."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = job.target.model
        self.compiled = job.machine.compiled(self.model)
        self.plan = plan(job.strategy.phases(job.target, job.training.epochs))
        self.batches = max(1, len(job.train) // job.training.batch_size)  # a smaller last batch is left out
        job.team.require_work(min(job.training.batch_size, len(job.train)))
        self.class_weights = class_weights(job.training.class_weights, job.train.labels.to(job.machine.device))
        job.target.extra.to(job.machine.device)
        job.strategy.training_started(job.run)
        self.feed = Feed(job)
        self.may_train = set(job.target.trainable())
        self.start = _copied(self.model.state_dict()), _copied(job.target.extra.state_dict())
        self.optimizer = self._optimizer()
        self.history: list[dict[str, float]] = []
        self.best: Tensors = {}
        self.best_accuracy, self.best_epoch, self.next_epoch, self.seconds = -1.0, 0, 0, 0.0
        self.finished: dict[str, Tensors] = {}
        saved = job.checkpoints.newest()
        if saved:
            self._restore(saved)

    def run_epoch(self, epoch: int) -> None:
        started = time.perf_counter()
        job, planned = self.job, self.plan[epoch]
        if planned.begins_phase:
            self._begin(planned)
        torch.manual_seed(derived_seed(job.seed, "epoch", epoch, *job.team.purpose))  # dropout and the like
        draws = generator(job.machine.device, job.seed, "batches", epoch)
        own_draws = generator(torch.device("cpu"), job.seed, "strategy", epoch, *job.team.purpose)
        self._set_modes(planned, epoch)
        forward = self.model if watched(self.model) else self.compiled  # after the stack, which may watch it anew
        inputs = self.feed.inputs(epoch, forward)
        order = epoch_order(job.training.sampling, job.run.train.labels, draws)
        losses = []
        whole = order[: self.batches * job.training.batch_size]
        with closing(inputs.stream(whole, job.training.batch_size, draws)) as batches:
            for batch, shown in enumerate(batches):
                job.progress.check()
                fraction = (planned.done * self.batches + batch + 1) / (planned.course_epochs * self.batches + 1)
                set_learning_rate(self.optimizer, job.training, fraction)
                numbers = whole[batch * job.training.batch_size :][: len(shown.labels)]
                losses.append(self._step(inputs, shown, numbers, own_draws))
        loss = self._mean_finite(job.team.sum(torch.stack(losses)), epoch)
        if planned.ends_course or (epoch + 1) % job.training.validate_every_epochs == 0:
            self._validate(inputs, epoch, loss)
        if planned.ends_course:
            self.finished[planned.phase.name] = self.best
        self.next_epoch = epoch + 1
        self.seconds += time.perf_counter() - started
        job.checkpoints.save(self._snapshot, force=self.next_epoch == len(self.plan))

    def trained(self) -> Trained:
        """Let the strategy work on the outcome, and return it."""
        started = time.perf_counter()
        best = self.best or _copied(self.model.state_dict())
        outcome = Outcome(self.job.run, best, self.finished)
        self.job.strategy.training_ended(outcome)
        epoch = self.best_epoch if outcome.tensors is best else 0
        self.model.load_state_dict(outcome.tensors)
        probabilities = predict(self.model, self.job.validation, self.job.normalise, self.job.machine)
        accuracy = _share_correct(probabilities, self.job.validation)
        temperature = fit_temperature(probabilities, self.job.validation.labels)
        history = self.history or [{"epoch": 0, "loss": self._training_loss(), "validation_accuracy": accuracy}]
        seconds = self.seconds + time.perf_counter() - started
        return Trained(outcome.tensors, accuracy, temperature, history, epoch, seconds, outcome.notes)

    def summary(self) -> str:
        """Say where training is."""
        if not self.history:
            return f"epoch {self.next_epoch}"
        row = self.history[-1]
        return f"epoch {row['epoch']:.0f}, loss {row['loss']:.3f}, validation {row['validation_accuracy']:.1%}"

    def _begin(self, planned: PlannedEpoch) -> None:
        """Enter a phase: the weights it starts from, what it trains, an optimizer for that."""
        if planned.phase.from_start:
            self.model.load_state_dict(self.start[0])
            self.job.target.extra.load_state_dict(self.start[1])
        elif planned.begins_course and self.best:
            self.model.load_state_dict(self.best)
        if planned.begins_course:
            self.best, self.best_accuracy, self.best_epoch = {}, -1.0, 0
        before = self._named_optimizer_state() if not planned.begins_course else {}
        self._thaw(planned)
        self.optimizer = self._optimizer()
        restore_optimizer(self.optimizer, self.job.target.trainable(), before)

    def _thaw(self, planned: PlannedEpoch) -> None:
        """Let exactly those parameters train that the phase and the strategy both allow."""
        trains = planned.phase.trains
        for name, parameter in _all_parameters(self.job.target).items():
            allowed = trains is None or name in trains or name.startswith("extra.")
            parameter.requires_grad_(name in self.may_train and allowed)

    def _set_modes(self, planned: PlannedEpoch, epoch: int) -> None:
        """Set training mode; where a phase holds parameters back, their batch normalisation stands still too."""
        self.model.train()
        self.job.target.extra.train()
        if planned.phase.trains is not None:
            for module in self.model.modules():
                if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
                    module.eval()
        self.job.strategy.epoch_started(self.job.target, epoch, self.optimizer)

    def _step(self, inputs: Inputs, shown: Shown, numbers: Tensor, own_draws: torch.Generator) -> Tensor:
        job, whole = self.job, shown.labels
        mine = job.team.share(len(whole))
        images, numbers = shown.inputs[mine], numbers[mine]
        with job.machine.precision(), job.team.together():
            logits = inputs.answer(images)
        if shown.blends:
            whole = soft_labels(whole, shown.blends, logits.shape[1])
        soft = whole[mine] if shown.blends else None
        labels = whole[mine] if soft is None else soft.argmax(dim=1)
        loss = self._loss(logits.float(), labels if soft is None else soft)
        taps = job.target.taps
        maps = taps.maps
        step = Step(job.target, images, labels, logits, taps.features, maps, own_draws, loss, soft, numbers)
        extra = job.strategy.loss_terms(step)
        total = job.team.total(loss, extra, whole, self.class_weights)
        total.backward()  # type: ignore[no-untyped-call]
        job.team.reduce(self.optimizer)
        job.strategy.gradients_ready(step)
        self.optimizer.step()
        job.strategy.step_ended(step, self.optimizer)
        self.optimizer.zero_grad()
        return total.detach()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss on labels (batch,), or on soft ones (batch, classes)."""
        smoothing = self.job.training.label_smoothing
        if labels.ndim == 2:
            return soft_cross_entropy(logits, labels, self.class_weights, smoothing)
        return F.cross_entropy(logits, labels, weight=self.class_weights, label_smoothing=smoothing)

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

    def _validate(self, inputs: Inputs, epoch: int, loss: float) -> None:
        """Note the epoch's mean loss, with penalties on weights as they are at its end, and the accuracy."""
        with torch.no_grad():
            penalty = self.job.strategy.penalty(self.job.target)
        loss += 0.0 if penalty is None else float(penalty)
        accuracy = _share_correct(inputs.probabilities(), self.job.validation)
        self.history.append({"epoch": epoch + 1, "loss": loss, "validation_accuracy": accuracy})
        if accuracy >= self.best_accuracy:  # of equals the later one: its learning rate was lower
            self.best, self.best_accuracy, self.best_epoch = _copied(self.model.state_dict()), accuracy, epoch + 1

    @torch.no_grad()
    def _training_loss(self) -> float:
        self.model.eval()
        losses = [
            F.cross_entropy(self.model(images).float(), labels, reduction="sum")
            for images, labels in self.job.run.batches(self.job.run.train)
        ]
        return float(torch.stack(losses).sum() / len(self.job.train))

    def _optimizer(self) -> torch.optim.Optimizer:
        groups = self.job.strategy.parameter_groups(self.job.target, self.job.training.weight_decay)
        return build_optimizer(groups, self.job.training)

    def _named_optimizer_state(self) -> dict[str, Tensor]:
        return optimizer_state(self.optimizer, _all_parameters(self.job.target))

    def _snapshot(self) -> Checkpoint:
        state = {
            "next_epoch": self.next_epoch, "best_epoch": self.best_epoch, "best_accuracy": self.best_accuracy,
            "seconds": self.seconds, "history": self.history, "finished": list(self.finished),
            "groups": [{k: v for k, v in g.items() if type(v) in (int, float)} for g in self.optimizer.param_groups],
        }  # fmt: skip
        tensors: dict[str, Mapping[str, Tensor]] = {
            "model": self.model.state_dict(),
            "extra": self.job.target.extra.state_dict(),
            "best": self.best,
            "optimizer": self._named_optimizer_state(),
        }
        tensors |= {f"finished-{index}": held for index, held in enumerate(self.finished.values())}
        return Checkpoint(tensors, state)

    def _restore(self, saved: Checkpoint) -> None:
        state = saved.state
        self.history, self.next_epoch, self.seconds = state["history"], state["next_epoch"], state["seconds"]
        self.best_epoch, self.best_accuracy = state["best_epoch"], state["best_accuracy"]
        device = self.job.machine.device
        on_device = {key: {n: t.to(device) for n, t in held.items()} for key, held in saved.tensors.items()}
        self.best = on_device["best"]
        self.finished = {name: on_device[f"finished-{index}"] for index, name in enumerate(state["finished"])}
        self.model.load_state_dict(on_device["model"])
        self.job.target.extra.load_state_dict(on_device["extra"])
        self._thaw(self.plan[self.next_epoch - 1])
        self.optimizer = self._optimizer()
        restore_optimizer(self.optimizer, self.job.target.trainable(), on_device["optimizer"])
        for group, kept in zip(self.optimizer.param_groups, state["groups"], strict=True):
            group.update(kept)
        self.job.progress.log(f"going on after epoch {self.next_epoch}")


def _all_parameters(target: TargetModel) -> dict[str, torch.nn.Parameter]:
    extra = {f"extra.{name}": parameter for name, parameter in target.extra.named_parameters()}
    return {**dict(target.model.named_parameters()), **extra}


def _share_correct(probabilities: Tensor, data: LabelledImages) -> float:
    return float((probabilities.argmax(dim=1) == data.labels).double().mean())


def _copied(tensors: Mapping[str, Tensor]) -> Tensors:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}
