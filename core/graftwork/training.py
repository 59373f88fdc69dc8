"""The training loop: one for every strategy."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, closing, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from graftwork.calibration import fit_temperature
from graftwork.divergence import MOST_HALVINGS, Diverged, Found, Watch, all_finite, hopeless, watched_parts
from graftwork.engine import predict, share_correct, watched
from graftwork.errors import TrainingError, first_line
from graftwork.inputs import Feed, Inputs
from graftwork.job import Job, Trained
from graftwork.memory import ran_out
from graftwork.optimization import set_learning_rate
from graftwork.plan import PlannedEpoch, plan
from graftwork.sampling import epoch_order
from graftwork.seeds import derived_seed, generator
from graftwork.stepping import Batch
from graftwork.training_run import Outcome
from graftwork.training_state import TrainingState, copied


def train(job: Job) -> Trained:
    """Train as the strategy's phases say and return the weights that validated best, or what it made of them.

    Goes on from the newest checkpoint of the same settings. Every epoch draws from (seed, epoch) alone, so the end
    is the same to the bit on the CPU. Where memory runs out, batches go on in parts. Raises TrainingError when the loss
    stops being finite and that isn't to be mended, and when memory runs out all the same.
    """
    try:
        loop = _Loop(job)
        while loop.state.next_epoch < len(loop.plan):
            try:
                loop.run_epoch(loop.state.next_epoch)
            except Diverged as fault:
                loop.mend(fault)
            job.progress.advance(loop.state.next_epoch / len(loop.plan), loop.summary())
        return loop.trained()
    except (RuntimeError, MemoryError) as error:
        if not ran_out(error):
            raise
        raise TrainingError(
            f"Memory ran out, with one image or beside the batches: {first_line(error)}",
            where=f"training {job.strategy.name}, seed {job.seed}", expected="room for the model and its optimizer",
            fix="a smaller model or image size, engine.side_by_side: 1, or finetune.cached_views: 0 in params.yaml",
        ) from error  # fmt: skip


class _Loop:
    """Runs the epochs, and mends what can be mended."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.model = job.target.model
        self.compiled = job.machine.compiled(self.model)
        self.plan = plan(job.strategy.phases(job.target, job.training.epochs))
        self.batches = max(1, len(job.train) // job.training.batch_size)  # a smaller last batch is left out
        job.team.require_work(min(job.training.batch_size, len(job.train)))
        job.target.extra.to(job.machine.device)
        job.strategy.training_started(job.run)
        self.feed = Feed(job)
        self.state = TrainingState(job, self.plan)
        saved = job.checkpoints.newest()
        if saved:
            self.state.take_up(saved)
            job.progress.log(f"going on after epoch {self.state.next_epoch}")

    def run_epoch(self, epoch: int, *, watching: bool = False) -> None:
        """Train for one epoch, validate and save when it is time. Raises Diverged; Found while watching."""
        started = time.perf_counter()
        job, state, planned = self.job, self.state, self.plan[epoch]
        if planned.begins_phase:
            state.enter(planned)
        torch.manual_seed(derived_seed(job.seed, "epoch", epoch, *job.team.purpose))  # dropout and the like
        draws = generator(job.machine.device, job.seed, "batches", epoch)
        own_draws = generator(torch.device("cpu"), job.seed, "strategy", epoch, *job.team.purpose)
        self._set_modes(planned, epoch)
        eager = watching or watched(self.model)  # after the stack, which may watch it anew
        inputs = self.feed.inputs(epoch, self.model if eager else self.compiled)
        order = epoch_order(job.training.sampling, job.run.train.labels, draws)
        losses = []
        whole = order[: self.batches * job.training.batch_size]
        with closing(inputs.stream(whole, job.training.batch_size, draws)) as batches, self._watch(epoch, watching):
            for number, shown in enumerate(batches):
                job.progress.check()
                self._set_rate(planned, number)
                numbers = whole[number * job.training.batch_size :][: len(shown.labels)]
                losses.append(state.stepper.step(Batch(inputs, shown, numbers, own_draws), state.optimizer))
        loss = self._mean_finite(job.team.sum(torch.stack(losses)), epoch)
        if not all_finite(job.target.trainable().values()):
            raise self._fault("weights are not finite after the epoch's last step", epoch, self.batches - 1)
        if planned.ends_course or (epoch + 1) % job.training.validate_every_epochs == 0:
            self._validate(inputs, epoch, loss)
        state.ended(planned, loss, time.perf_counter() - started)
        if not watching:
            job.checkpoints.save(state.to_be_saved, force=state.next_epoch == len(self.plan))

    def mend(self, fault: Diverged) -> None:
        """Go back to the last good state at half the rate; raise TrainingError where that isn't wanted or of no use."""
        job, state, best = self.job, self.state, self.state.best
        with state.lasting():
            first = self._first_broken(fault.epoch) if job.team.size == 1 else "not looked for by several processes"
        if not state.goes_back or state.halvings == MOST_HALVINGS:
            kept = job.checkpoints.keep_last_good(best) if best else "none: no epoch was validated"
            raise hopeless(fault, first, kept, state.halvings, job)
        assert state.good is not None
        rate = 0.5 ** (state.halvings + 1)
        told = (
            f"{fault.sentence()}; what wasn't finite first: {first}; "
            f"went back to the end of epoch {state.good.state['next_epoch']}, with the rate times {rate:g}"
        )
        state.go_back(told)
        job.progress.log(told)

    def _first_broken(self, epoch: int) -> str:
        """Train again up to an epoch, looking at every number, and say what isn't finite first."""
        state = self.state
        with state.lasting():
            state.restore(state.good or self.job.checkpoints.newest() or state.beginning())
        try:
            while state.next_epoch <= epoch:
                self.run_epoch(state.next_epoch, watching=True)
        except Found as found:
            return str(found)
        except Diverged:
            pass
        return "not found again: here it doesn't come back to the bit"

    def _watch(self, epoch: int, watching: bool) -> AbstractContextManager[None]:
        if not watching:
            return nullcontext()
        return Watch(watched_parts(self.job), self.state.optimizer, epoch * self.batches).looking()

    def _set_rate(self, planned: PlannedEpoch, batch: int) -> None:
        fraction = (planned.done * self.batches + batch + 1) / (planned.course_epochs * self.batches + 1)
        set_learning_rate(self.state.optimizer, self.job.training, fraction, 0.5**self.state.halvings)

    def trained(self) -> Trained:
        """Let the strategy work on the outcome, and return it."""
        started = time.perf_counter()
        best = self.state.best or copied(self.model.state_dict())
        outcome = Outcome(self.job.run, best, self.state.finished)
        self.job.strategy.training_ended(outcome)
        epoch = self.state.best_epoch if outcome.tensors is best else 0
        self.model.load_state_dict(outcome.tensors)
        probabilities = predict(self.model, self.job.validation, self.job.normalise, self.job.machine)
        accuracy = share_correct(probabilities, self.job.validation.labels)
        temperature = fit_temperature(probabilities, self.job.validation.labels)
        history = self.state.history or [{"epoch": 0, "loss": self._training_loss(), "validation_accuracy": accuracy}]
        seconds, mishaps = self.state.seconds + time.perf_counter() - started, tuple(self.state.mishaps)
        return Trained(outcome.tensors, accuracy, temperature, history, epoch, seconds, outcome.notes, mishaps)

    def summary(self) -> str:
        """Say where training is."""
        if not self.state.history:
            return f"epoch {self.state.next_epoch}"
        row = self.state.history[-1]
        return f"epoch {row['epoch']:.0f}, loss {row['loss']:.3f}, validation {row['validation_accuracy']:.1%}"

    def _set_modes(self, planned: PlannedEpoch, epoch: int) -> None:
        """Set training mode; where a phase holds parameters back, their batch normalisation stands still too."""
        self.model.train()
        self.job.target.extra.train()
        if planned.phase.trains is not None:
            for module in self.model.modules():
                if isinstance(module, _BatchNorm) and not any(p.requires_grad for p in module.parameters()):
                    module.eval()
        self.job.strategy.epoch_started(self.job.target, epoch, self.state.optimizer)

    def _mean_finite(self, losses: Tensor, epoch: int) -> float:
        """Return the mean of an epoch's losses. Raises Diverged."""
        bad = (~torch.isfinite(losses)).nonzero()
        if len(bad):
            raise self._fault("loss is not finite", epoch, int(bad[0]))
        return float(losses.mean())

    def _fault(self, what: str, epoch: int, batch: int) -> Diverged:
        """Return what is to be raised of a step, with the learning rate that it was taken at."""
        self._set_rate(self.plan[epoch], batch)
        return Diverged(what, epoch, epoch * self.batches + batch, self.state.optimizer.param_groups[0]["lr"])

    def _validate(self, inputs: Inputs, epoch: int, loss: float) -> None:
        """Note the epoch's mean loss, with penalties on weights as they are at its end, and the accuracy."""
        with torch.no_grad():
            penalty = self.job.strategy.penalty(self.job.target)
        loss += 0.0 if penalty is None else float(penalty)
        probabilities = inputs.probabilities()
        if not bool(torch.isfinite(probabilities).all()):
            raise self._fault("answers to the validation images are not finite", epoch, self.batches - 1)
        self.state.validated(epoch, loss, share_correct(probabilities, self.job.validation.labels))

    @torch.no_grad()
    def _training_loss(self) -> float:
        self.model.eval()
        losses = [
            F.cross_entropy(self.model(images).float(), labels, reduction="sum")
            for images, labels in self.job.run.batches(self.job.run.train)
        ]
        return float(torch.stack(losses).sum() / len(self.job.train))
