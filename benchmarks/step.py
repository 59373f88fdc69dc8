"""What a strategy adds to a training step, on one batch.

Most add a hook behind the backward pass: its seconds are taken within the step, so that a busy machine is busy for
both. What changes the passes themselves is compared with a plain step, in turn.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.measuring import Row, interleaved, ratios, spread
from graftwork.checkpoints import Checkpoints
from graftwork.engine import Normalise, prepare
from graftwork.hookspecs import hookimpl
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.models import head_tensors
from graftwork.progress import Quiet
from graftwork.seeds import generator
from graftwork.settings import Engine, Training
from graftwork.source import Source
from graftwork.stepping import Batch
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork.torchvision_operators import define_missing
from graftwork.training import _Loop
from graftwork.training_run import Run
from graftwork.weights import InputContract
from graftwork_plugins.augmentations import Flip
from graftwork_plugins.strategies.bss import BSS
from graftwork_plugins.strategies.delta import Delta
from graftwork_plugins.strategies.ewc import EWC
from graftwork_plugins.strategies.l2_sp import L2SP
from graftwork_plugins.strategies.penalties import L1, L2

CLASSES = tuple("abcde")
ENGINE = Engine(device="cpu", threads=2, precision="float32", memory_format="channels_last")
FEW = 16  # images of the source: their number decides what training's start costs, not what a step does


class L2SPInTheLoss(L2SP):
    """L2-SP as it is often written: a sum over the parameters, differentiated anew at every step."""

    @hookimpl
    def loss_terms(self, step: Step) -> torch.Tensor | None:
        return self.penalty(step.target)

    @hookimpl
    def gradients_ready(self, step: Step) -> None:
        pass


@dataclass(frozen=True)
class Averaging:
    """An exponential moving average of the weights after every step, as a plugin would keep it."""

    decay: float = 0.99

    @hookimpl
    def training_started(self, run: Run) -> None:
        held: list[torch.Tensor] = [p.detach() for p in run.target.model.parameters()]
        run.target.notes["Averaging"] = held, [p.clone() for p in held]

    @hookimpl
    def step_ended(self, step: Step) -> None:
        now, average = step.target.notes["Averaging"]
        torch._foreach_lerp_(average, now, 1 - self.decay)


# Plugins whose work is a hook behind the backward pass; each may cost so much of a step without it
HOOKS: dict[str, object] = {
    "l2_sp": L2SP(),
    "l2_sp, decoupled": L2SP(decoupled=True),
    "ewc": EWC(images=FEW),
    "l1": L1(),
    "l2": L2(),
    "moving average": Averaging(),
}
MOST = 1.05
# Those that change the passes
PASSES: dict[str, object] = {"l2_sp in the loss": L2SPInTheLoss(), "bss": BSS(), "delta": Delta()}


@dataclass
class Clock:
    """The seconds spent in a strategy's hooks behind the backward pass."""

    seconds: float = 0.0
    shares: list[float] = field(default_factory=list)  # of each turn: with the hooks / without

    def watch(self, strategy: Strategy) -> None:
        for name in ("gradients_ready", "step_ended"):
            setattr(strategy, name, self._timed(getattr(strategy, name)))

    def _timed(self, hook: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any) -> Any:
            started = time.perf_counter()
            answer = hook(*arguments)
            self.seconds += time.perf_counter() - started
            return answer

        return timed

    def around(self, turn: Callable[[], None]) -> None:
        """Make a turn, and note how many times as long as without its hooks it took."""
        self.seconds, started = 0.0, time.perf_counter()
        turn()
        whole = time.perf_counter() - started
        self.shares.append(whole / (whole - self.seconds))


@dataclass(frozen=True)
class Net:
    """A model of timm's, at its batch size."""

    name: str
    size: int
    channels: int
    batch: int
    steps: int  # in a turn

    def build(self) -> nn.Module:
        import timm

        model: nn.Module = timm.create_model(self.name, in_chans=self.channels, num_classes=len(CLASSES))
        return model

    def images(self, count: int) -> LabelledArrays:
        pixels = torch.randint(0, 256, (count, self.channels, self.size, self.size), dtype=torch.uint8)
        return LabelledArrays(pixels, torch.arange(count) % len(CLASSES))

    def contender(self, plugins: list[object], folder: Path, clock: Clock | None = None) -> Callable[[], None]:
        """Return what makes a turn's steps, its hooks under a clock."""
        machine = prepare(ENGINE)
        model = machine.place(self.build())
        head = head_tensors(model)
        source = Source(CLASSES, self.build, self.images(FEW))
        target = TargetModel(model, head, frozenset(model.state_dict()) - head, source, CLASSES)
        strategy = Strategy("step", plugins)
        strategy.prepare_model(target)
        if clock is not None:
            clock.watch(strategy)
        contract = InputContract(
            model={}, classes=CLASSES, mean=(0.5,) * self.channels, std=(0.25,) * self.channels, size=self.size,
            channels=self.channels, head=(), provenance={},
        )  # fmt: skip
        training = Training(epochs=1, batch_size=self.batch, optimizer="adamw", lr=1e-4, weight_decay=0.05)
        train = self.images(self.batch)
        job = Job(
            target, strategy, train, self.images(2), [Flip()], Normalise(contract, machine), training, machine, 0,
            Quiet(), Checkpoints(folder, "step"),
        )  # fmt: skip
        loop = _Loop(job)
        loop._set_modes(loop.plan[0], 0)
        draws, own = generator(machine.device, 0), generator(machine.device, 1)

        inputs, order = loop.feed.inputs(0, loop.model), torch.arange(self.batch)

        def turn() -> None:
            for _ in range(self.steps):
                for shown in inputs.stream(order, self.batch, draws):
                    loop.state.stepper.step(Batch(inputs, shown, order, own), loop.state.optimizer)

        return turn


NETS = (Net("test_resnet", 28, 1, 256, steps=8), Net("resnet18", 32, 3, 128, steps=2))


def step_rows(rounds: int = 4) -> list[Row]:
    """Tell what each plugin adds to a step; DELTA is compared with a plain step and a forward pass."""
    define_missing()
    rows = []
    for net in NETS:
        with tempfile.TemporaryDirectory() as folder:
            clocks = {name: _clocked(net, plugin, Path(folder, name), rounds) for name, plugin in HOOKS.items()}
            contenders = {"plain": net.contender([], Path(folder, "plain"))}
            for name, plugin in PASSES.items():
                contenders[name] = net.contender([plugin], Path(folder, name))
            contenders["plain and a forward pass"] = _with_forward(net, contenders["plain"])
            seconds = interleaved(contenders, rounds)
        each = [1000 * value / net.steps for value in seconds["plain"]]
        rows.append(Row(f"{net.name}, {net.size} px, batch {net.batch}: plain step, ms", "–", *spread(each, 1)))
        for name, clock in clocks.items():
            met = statistics.median(clock.shares) <= MOST
            rows.append(Row(f"{net.name}: {name} / without its hook", f"≤ {MOST}", *spread(clock.shares, 3), met))
        for name in PASSES:
            against = "plain and a forward pass" if name == "delta" else "plain"
            found = spread(ratios(seconds[name], seconds[against]))
            rows.append(Row(f"{net.name}: {name} / {against}", "–", *found))
    return rows


def _clocked(net: Net, plugin: object, folder: Path, rounds: int) -> Clock:
    clock = Clock()
    turn = net.contender([plugin], folder, clock)
    turn()  # warms up
    for _ in range(rounds):
        clock.around(turn)
    return clock


def _with_forward(net: Net, plain: Callable[[], None]) -> Callable[[], None]:
    model, images = net.build().eval(), torch.randn(net.batch, net.channels, net.size, net.size)
    model, images = model.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def turn() -> None:
        plain()
        with torch.no_grad():
            for _ in range(net.steps):
                model(images)

    return turn
