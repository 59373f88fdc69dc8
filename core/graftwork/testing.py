"""The contract that every strategy must pass. A plugin's author runs it with one line of pytest:

    test_contract = strategy_contract(FullCopy(), MyPlugin(strength=0.1), zero=[FullCopy(), MyPlugin(strength=0.0)])

The stack is trained for a few steps on a tiny convolutional net and a tiny vision transformer of timm's.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from graftwork.anatomy import batch_norms
from graftwork.checkpoints import Checkpoints
from graftwork.engine import Machine, Normalise
from graftwork.errors import Interrupted
from graftwork.hookspecs import hookimpl
from graftwork.images import LabelledImages
from graftwork.job import Job, Trained
from graftwork.labelled_arrays import LabelledArrays
from graftwork.manifest import match, plain_name, with_trainable
from graftwork.models import head_tensors
from graftwork.optimization import build_optimizer
from graftwork.progress import Quiet
from graftwork.settings import Training
from graftwork.source import Source, SourceModel
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork.torchvision_operators import define_missing
from graftwork.training import train
from graftwork.training_run import Tensors
from graftwork.weights import InputContract

NETS = ("test_resnet", "test_vit")
SIZE, SOURCE_CLASSES, TARGET_CLASSES = 32, ("a", "b", "c", "d"), ("x", "y", "z")
FLOAT32 = Machine(torch.device("cpu"), autocast=False, memory_format=torch.contiguous_format)
INPUT = InputContract(
    model={}, classes=TARGET_CLASSES, mean=(0.4,), std=(0.3,), size=SIZE, channels=1, head=(), provenance={}
)


def strategy_contract(
    *stack: object, zero: Sequence[object] | None = None, nets: Sequence[str] = NETS, epochs: int = 2,
    source_classes: tuple[str, ...] = SOURCE_CLASSES,
) -> Callable[..., None]:  # fmt: skip
    """Return a test of a stack of plugins; assign it to a name that begins with `test_`.

    `zero` is the stack at zero strength: it must give the very weights of `full_copy` without weight decay.
    The target's classes are TARGET_CLASSES.
    """
    checks: list[Callable[[Case], None]] = [
        optimizer_holds_what_is_trainable, frozen_tensors_stay, manifest_partitions_the_model,
        equal_seeds_give_equal_weights_by_finite_gradients, resuming_changes_nothing, bfloat16_works,
        the_usual_model_loads_what_comes_out, penalties_add_their_derivative,
    ]  # fmt: skip

    if zero is not None:
        checks.append(zero_strength_is_full_copy)
    cases = {net: Case(tuple(stack), net, epochs, source_classes) for net in nets}

    @pytest.mark.parametrize("net", nets)
    @pytest.mark.parametrize("check", checks, ids=lambda check: check.__name__)
    def test(check: Callable[[Case], None], net: str) -> None:
        of_zero = check is zero_strength_is_full_copy
        (replace(cases[net], stack=tuple(zero or ())) if of_zero else cases[net]).check(check)

    return test


@dataclass(frozen=True)
class Case:
    """A stack on a net."""

    stack: tuple[object, ...]
    net: str
    epochs: int
    source_classes: tuple[str, ...] = SOURCE_CLASSES

    def target(self, seed: int = 0) -> tuple[TargetModel, Strategy, Tensors]:
        """Return a model with its starting weights in place, prepared by the stack; and those of the source."""
        strategy = Strategy("contract", self.stack)
        strategy.check()
        origin = build_net(self.net, self.source_classes, seed=100)
        model = build_net(self.net, TARGET_CLASSES, seed)
        offered = SourceModel(origin.state_dict(), head_tensors(origin), self.source_classes)
        start, _ = match(strategy.choose_weights(offered, TARGET_CLASSES), model.state_dict(), offered.tensors)
        model.load_state_dict({**model.state_dict(), **start})
        images = noise(24, len(self.source_classes), seed=3)
        source = Source(self.source_classes, lambda: build_net(self.net, self.source_classes, seed=100), images)
        target = TargetModel(model, head_tensors(model), frozenset(start), source, TARGET_CLASSES)
        strategy.prepare_model(target)
        return target, strategy, offered.tensors

    def job(self, folder: Path, seed: int = 0, machine: Machine = FLOAT32, **changes: Any) -> Job:
        """Return a training of a few steps."""
        target, strategy, _ = self.target(seed)
        training = Training(epochs=self.epochs, batch_size=8, optimizer="adamw", lr=1e-3, validate_every_epochs=2)
        job = Job(
            target, strategy, noise(16, 3, seed=1), noise(12, 3, seed=2), (), Normalise(INPUT, machine), training,
            machine, seed, Quiet(), Checkpoints(folder, "contract", every_seconds=0.0),
        )  # fmt: skip
        return replace(job, **changes)

    def train(self, **changes: Any) -> Trained:
        """Train in a folder that is gone afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            return train(self.job(Path(folder), **changes))

    @cached_property
    def trained(self) -> Trained:
        """The plain training, which several checks look at."""
        return self.train()

    def check(self, check: Callable[[Case], None]) -> None:
        """Run a check on one thread: on so small a net, several wait for each other."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            check(self)
        finally:
            torch.set_num_threads(threads)


def optimizer_holds_what_is_trainable(case: Case) -> None:
    """Every trainable parameter stands in the optimizer once, and nothing else does, in every phase."""
    target, strategy, _ = case.target()
    assert target.trainable(), "nothing is trainable"
    allowed = set(target.trainable())
    for phase in strategy.phases(target, case.epochs):
        for name, parameter in target.model.named_parameters():
            parameter.requires_grad_(name in allowed and (phase.trains is None or name in phase.trains))
        groups = strategy.parameter_groups(target, weight_decay=0.1)
        held = sorted(id(parameter) for group in groups for parameter in group["params"])
        assert held == sorted(id(parameter) for parameter in target.trainable().values())


def frozen_tensors_stay(case: Case) -> None:
    """What the stack froze is equal to the bit after training, the statistics of held batch norms included."""
    target, _, _ = case.target()
    before = {name: tensor.clone() for name, tensor in target.model.state_dict().items()}
    frozen = {n for n, p in target.model.named_parameters() if not p.requires_grad and plain_name(n) == n}
    if any(getattr(plugin, "batch_norm", "") == "eval" for plugin in case.stack):
        held = [m for m in batch_norms(target.model) if not any(p.requires_grad for p in m.parameters())]
        frozen |= {f"{n}.{b}" for n, m in target.model.named_modules() if m in held for b, _ in m.named_buffers()}
    after = case.trained.tensors
    assert [name for name in sorted(frozen) if not torch.equal(before[name], after[name])] == []


def manifest_partitions_the_model(case: Case) -> None:
    """Every tensor of the prepared model has one fate, and so has every tensor of the source."""
    strategy = Strategy("contract", case.stack)
    target, _, source = case.target()
    fresh = build_net(case.net, TARGET_CLASSES, seed=0)
    offered = SourceModel(source, head_tensors(fresh), SOURCE_CLASSES)
    _, fates = match(strategy.choose_weights(offered, TARGET_CLASSES), fresh.state_dict(), source)
    fates = list(with_trainable(fates, target.model))
    mine = [fate.name for fate in fates if fate.kind != "dropped"]
    assert sorted(mine) == sorted(plain_name(name) for name in target.model.state_dict())
    used = [fate.name for fate in fates if fate.kind in ("copied", "adapted")]
    assert sorted(used + [fate.name for fate in fates if fate.kind == "dropped"]) == sorted(source)


def resuming_changes_nothing(case: Case) -> None:
    """A training that is stopped at its second step or epoch and goes on ends with the same bits."""

    class Stopping(Quiet):
        calls = 0

        def check(self) -> None:
            self.calls += 1
            if self.calls == 4:  # in the second epoch: there are two steps in each
                raise Interrupted("now")

    whole = case.trained
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(Interrupted):
            train(case.job(Path(folder), progress=Stopping()))
        resumed = train(case.job(Path(folder)))
    assert different(whole.tensors, resumed.tensors) == []
    assert whole.history == resumed.history


def equal_seeds_give_equal_weights_by_finite_gradients(case: Case) -> None:
    """Another training of the same seed is equal to the bit, and every gradient of its steps is finite."""

    class Look:
        @hookimpl(trylast=True)
        def gradients_ready(self, step: Step) -> None:
            for name, parameter in step.target.trainable().items():
                if parameter.grad is not None:
                    assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} isn't finite"

    again = replace(case, stack=(*case.stack, Look())).train()
    assert different(case.trained.tensors, again.tensors) == []


def bfloat16_works(case: Case) -> None:
    """Training in bf16 autocast ends with finite weights."""
    few = {"train": noise(8, 3, seed=1), "validation": noise(3, 3, seed=2)}  # slow where a CPU lacks the type
    tensors = case.train(machine=replace(FLOAT32, autocast=True), **few).tensors
    assert [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()] == []


def the_usual_model_loads_what_comes_out(case: Case) -> None:
    """The delivered tensors are those of the plain architecture."""
    build_net(case.net, TARGET_CLASSES, seed=5).load_state_dict(case.trained.tensors, strict=True)


def penalties_add_their_derivative(case: Case) -> None:
    """What `gradients_ready` adds is what autograd makes of `penalty`, for a stack that has one."""
    with tempfile.TemporaryDirectory() as folder:
        job = case.job(Path(folder))
    target, strategy = job.target, job.strategy
    strategy.training_started(job.run)
    if strategy.penalty(target) is None:
        return
    optimizer = build_optimizer(strategy.parameter_groups(target, weight_decay=0.1), job.training)
    strategy.epoch_started(target, 0, optimizer)
    draws = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in target.trainable().values():
            parameter.add_(torch.randn(parameter.shape, generator=draws), alpha=0.1)
    value = strategy.penalty(target)
    assert value is not None
    parameters = list(target.trainable().values())
    expected = torch.autograd.grad(value, parameters, materialize_grads=True)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    images, labels = next(job.run.batches(job.train))
    strategy.gradients_ready(Step(target, images, labels, target.model(images)))
    torch.testing.assert_close([p.grad for p in parameters], list(expected))


def zero_strength_is_full_copy(case: Case) -> None:
    """At zero strength, the stack gives the very weights of a full copy."""

    class Copy:
        @hookimpl
        def choose_weights(self, source: SourceModel) -> dict[str, Tensor]:
            return {name: tensor for name, tensor in source.tensors.items() if name not in source.head}

    assert different(case.trained.tensors, replace(case, stack=(Copy(),)).train().tensors) == []


def build_net(name: str, classes: Sequence[str], seed: int) -> nn.Module:
    """Return one of timm's test models for grey images of 32×32, drawn from `seed`, no norm of it at 0 or 1."""
    define_missing()
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        size = {"img_size": SIZE} if "vit" in name else {}
        model: nn.Module = timm.create_model(name, in_chans=1, num_classes=len(classes), **size)
        with torch.no_grad():
            for norm in batch_norms(model):
                for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                    assert tensor is not None
                    tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return model


def noise(count: int, classes: int, seed: int) -> LabelledImages:
    """Return `count` images of noise, each class of another brightness."""
    labels = torch.arange(count) % classes
    draws = torch.randint(0, 100, (count, 1, SIZE, SIZE), generator=torch.Generator().manual_seed(seed))
    return LabelledArrays((draws + 40 * labels.view(-1, 1, 1, 1)).to(torch.uint8), labels)


def different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the tensors that aren't equal to the bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]
