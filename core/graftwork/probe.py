"""A throw-away model in training on noise, to be timed in any arithmetic."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graftwork.choice import Choice
from graftwork.engine import Machine, Normalise, prepare
from graftwork.errors import first_line
from graftwork.memory import in_portions, ran_out, tidy_up
from graftwork.models import head_tensors
from graftwork.optimization import build_optimizer
from graftwork.progress import Progress
from graftwork.race import Unfit
from graftwork.settings import Training
from graftwork.strategy import Strategy, TargetModel
from graftwork.weights import InputContract

T = TypeVar("T")

STEP_SECONDS = 0.5  # a step takes at most about this, with fewer images where the model is large
BOUT_SECONDS = 0.05  # steps of small models are timed several at once
MOST_STEPS = 20
FEW = 8  # images of the step that tells how large the model is
LR = 1e-6  # so small that a loss which isn't finite is the arithmetic's fault


@dataclass
class Held:
    """A copy of the model in one memory format, with its optimizer."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    normalise: Normalise
    forward: Callable[[Tensor], Tensor]


class Probe:
    """Steps of a model that nobody keeps; as a training's they go forward, backward, and through the optimizer."""

    def __init__(self, model: nn.Module, contract: InputContract, training: Training, progress: Progress) -> None:
        self._model, self._contract, self._progress = model, contract, progress
        self._training = training.model_copy(update={"lr": LR})
        self._held: dict[tuple[torch.memory_format, bool], Held] = {}
        self.batch = 0
        self._images, self._labels = torch.empty(0), torch.empty(0)
        self._show(min(FEW, training.batch_size))

    def fit_batch(self, usual: Choice) -> None:
        """Take the training's batch size, or as many images as memory, and a step of STEP_SECONDS, can have.

        Raises what torch raises where one image is too many.
        """
        in_portions(self.batch, lambda few: self._try(usual, few))
        seconds = min(self.seconds(usual, steps=1) for _ in range(3))
        affordable = max(2, int(self.batch * STEP_SECONDS / seconds))
        in_portions(min(self._training.batch_size, affordable), lambda batch: self._try(usual, batch))

    def bout(self, choice: Choice) -> float:
        """Return the seconds of a step, of several where they are short.

        Raises Unfit for a loss that isn't finite, and where memory runs out.
        """
        first = self.seconds(choice, steps=1)
        steps = min(MOST_STEPS, math.ceil(BOUT_SECONDS / first))
        return self.seconds(choice, steps) if steps > 1 else first

    def seconds(self, choice: Choice, steps: int) -> float:
        """Return the mean seconds of some steps. Raises Unfit as `bout` does."""
        self._progress.check()
        machine = prepare(choice)
        spent, loss = self._within_memory(lambda: self._timed(machine, steps))
        if not torch.isfinite(loss):
            raise Unfit("the loss isn't finite")
        return spent

    def step(self, choice: Choice) -> None:
        """Take a step, untimed. Raises Unfit where memory runs out."""
        self._within_memory(lambda: self._step(prepare(choice)))

    @property
    def share(self) -> float:
        """How many times the images of its steps those of the training have."""
        return self._training.batch_size / self.batch

    def forget_compiled(self) -> None:
        """Let go of what was compiled."""
        self._held = {key: held for key, held in self._held.items() if not key[1]}

    def _within_memory(self, work: Callable[[], T]) -> T:
        """Return what work makes. Raises Unfit where memory runs out, and lets go of all copies of the model."""
        try:
            return work()
        except (RuntimeError, MemoryError) as error:
            if not ran_out(error):
                raise
        self._held.clear()  # an optimizer may be half set up
        tidy_up()  # out of the handler, whose traceback holds on to the tensors of the failed step
        raise Unfit("memory ran out")

    def _try(self, choice: Choice, batch: int) -> None:
        """Show so many images to a fresh copy of the model. Raises what torch raises."""
        self._held.clear()
        self._show(batch)
        self._step(prepare(choice))

    def _timed(self, machine: Machine, steps: int) -> tuple[float, Tensor]:
        """Return the mean seconds of some steps, and the last one's loss."""
        self._on(machine)  # copying the model isn't timed
        synchronise(machine)
        started = time.perf_counter()
        for _ in range(steps):
            loss = self._step(machine)
        synchronise(machine)
        return (time.perf_counter() - started) / steps, loss

    def _step(self, machine: Machine) -> Tensor:
        held = self._on(machine)
        images = held.normalise(self._images.to(machine.device))
        with machine.precision():
            logits = held.forward(images)
        loss = F.cross_entropy(logits.float(), self._labels.to(machine.device))
        loss.backward()  # type: ignore[no-untyped-call]
        held.optimizer.step()
        held.optimizer.zero_grad()
        return loss.detach()

    def _on(self, machine: Machine) -> Held:
        key = machine.memory_format, machine.compile
        if key not in self._held:
            model = machine.place(copy.deepcopy(self._model)).train()
            target = TargetModel(model, head_tensors(model), frozenset())
            groups = Strategy("probe", []).parameter_groups(target, self._training.weight_decay)
            optimizer, normalise = build_optimizer(groups, self._training), Normalise(self._contract, machine)
            self._held[key] = Held(model, optimizer, normalise, machine.compiled(model))
        return self._held[key]

    def _show(self, batch: int) -> None:
        """Draw so many images and labels."""
        self.batch, contract = batch, self._contract
        draws = torch.Generator().manual_seed(batch)
        shape = (batch, contract.channels, contract.size, contract.size)
        self._images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
        self._labels = torch.randint(0, len(contract.classes), (batch,), generator=draws)


def synchronise(machine: Machine) -> None:
    """Wait for what a GPU still computes."""
    if machine.device.type == "cuda":
        torch.cuda.synchronize()


def compiled_gain(probe: Probe, choice: Choice, rounds: int = 3) -> tuple[float, float]:
    """Compile the model, and return the seconds that took and those that a step then saves.

    Raises Unfit where it can't be compiled here.
    """
    with_it = choice.model_copy(update={"compile": True})
    started = time.perf_counter()
    try:
        probe.step(with_it)
        probe.step(with_it)
    except Exception as error:  # torch's compiler fails in more ways than can be listed
        raise Unfit(f"it can't be compiled here: {first_line(error)}") from error
    spent = time.perf_counter() - started
    pairs = sorted(probe.bout(choice) - probe.bout(with_it) for _ in range(rounds))
    probe.forget_compiled()
    return spent, pairs[rounds // 2]
