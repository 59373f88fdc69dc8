"""Losses that stop being finite: where that began, and what is told of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from graftwork.errors import TrainingError
from graftwork.job import Job

MOST_HALVINGS = 3  # of the learning rate in one training


class Diverged(Exception):  # noqa: N818  # the loop's own word: it mends that, or raises TrainingError
    """An epoch's losses, or the weights that it left, aren't finite; `step` is counted from the training's start."""

    def __init__(self, what: str, epoch: int, step: int, rate: float) -> None:
        super().__init__(what)
        self.what, self.epoch, self.step, self.rate = what, epoch, step, rate

    def sentence(self) -> str:
        """Say what, when, and at which learning rate."""
        return f"The {self.what} at step {self.step} (epoch {self.epoch + 1}), learning rate {self.rate:.3g}"


class Found(Exception):  # noqa: N818  # what a watch was put up for
    """The first thing that isn't finite, in words."""


@dataclass
class Watch:
    """Sees everything that a model computes, for an epoch that is trained again because its loss wasn't finite.

    It costs a look at every number, so a training that goes well never has one.
    """

    target: Mapping[str, nn.Module]  # modules by what their names begin with
    optimizer: torch.optim.Optimizer
    step: int  # counted from the training's start

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Raise Found at the first output, gradient or weight that isn't finite."""
        handles: list[Any] = []
        for prefix, whole in self.target.items():
            for name, module in whole.named_modules(prefix=prefix):
                if not any(True for _ in module.children()):
                    handles.append(module.register_forward_hook(self._output_of(name)))
        handles.append(self.optimizer.register_step_pre_hook(lambda *_: self._gradients()))
        handles.append(self.optimizer.register_step_post_hook(lambda *_: self._weights()))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _output_of(self, name: str) -> Any:
        def look(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if any(isinstance(tensor, Tensor) and _broken(tensor) for tensor in inputs):
                raise self._found(f"what `{name}` is given")
            if isinstance(output, Tensor) and _broken(output):
                raise self._found(f"the output of `{name}`")

        return look

    def _gradients(self) -> None:
        for name, parameter in reversed(self._parameters()):  # backward runs from the last to the first
            if parameter.grad is not None and _broken(parameter.grad):
                raise self._found(f"the gradient of `{name}`")

    def _weights(self) -> None:
        for name, parameter in self._parameters():
            if _broken(parameter):
                raise self._found(f"`{name}`, after the optimizer's step,")
        self.step += 1

    def _parameters(self) -> list[tuple[str, nn.Parameter]]:
        return [found for prefix, whole in self.target.items() for found in whole.named_parameters(prefix=prefix)]

    def _found(self, what: str) -> Found:
        return Found(f"{what} at step {self.step}")


def watched_parts(job: Job) -> dict[str, nn.Module]:
    """Return what a watch looks at: the model, and what is trained beside it."""
    return {"": job.target.model, "extra": job.target.extra}


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Tell whether no tensor holds NaN or infinity, by the largest value of all: so a GPU is waited for once."""
    held = [tensor for tensor in tensors if tensor.is_floating_point() and tensor.numel()]
    return bool(torch.isfinite(get_total_norm(held, math.inf)))


def hopeless(fault: Diverged, first: str, kept: object, halvings: int, job: Job) -> TrainingError:
    """Return the error of a training that can't go on."""
    tried = f"; {halvings} times half the learning rate didn't help" if halvings else ""
    slower = f"lower lr (now {job.training.lr:g}) in params.yaml, or raise warmup_fraction"
    return TrainingError(
        f"{fault.sentence()}; last good weights: {kept}; what isn't finite first: {first}{tried}",
        where=f"training {job.strategy.name}, seed {job.seed}",
        fix=slower if halvings else f"{slower}, or set on_divergence: halve",
    )


def _broken(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
