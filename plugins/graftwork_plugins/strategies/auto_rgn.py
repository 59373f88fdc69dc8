"""Auto-RGN: each tensor's rate by its relative gradient norm (Lee et al., ICLR 2023, arXiv 2210.11466)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from graftwork.hookspecs import hookimpl
from graftwork.strategy import ParameterOptions, Step, TargetModel
from graftwork.training_run import Run

SMALLEST_NORM = 1e-12


class _Norms(nn.Module):
    """‖g‖/‖w‖ of each tensor, summed over an epoch's steps; buffers, so that a checkpoint holds them."""

    sums: Tensor

    def __init__(self, tensors: int) -> None:
        super().__init__()
        self.register_buffer("sums", torch.zeros(tensors))


@dataclass(frozen=True)
class AutoRGN:
    """Scale each tensor's learning rate by RGN/max RGN, RGN = ‖gradient‖/‖weight‖, measured over the epoch before."""

    reads_images: ClassVar[bool] = False

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Make room for the norms."""
        names = sorted(target.trainable())
        target.notes["AutoRGN"] = names
        target.extra["AutoRGN"] = _Norms(len(names))

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Measure the first epoch's norms in one pass without a step."""
        model, trainable = run.target.model, run.target.trainable()
        named = {name: trainable[name] for name in run.target.notes["AutoRGN"]}
        model.eval()
        sums = torch.zeros_like(_sums(run.target))
        for images, labels in run.batches(run.train):
            loss = F.cross_entropy(model(images).float(), labels)
            gradients = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
            sums += _relative(list(named.values()), gradients)
        _sums(run.target).copy_(sums)

    @hookimpl
    def parameter_options(self, target: TargetModel) -> dict[str, ParameterOptions]:
        """Give every tensor a group of its own."""
        return {name: ParameterOptions(group=name) for name in target.notes["AutoRGN"]}

    @hookimpl
    def epoch_started(self, target: TargetModel, optimizer: torch.optim.Optimizer) -> None:
        """Set this epoch's rates, and begin to measure the next one's."""
        sums = _sums(target)
        shares = dict(zip(target.notes["AutoRGN"], (sums / sums.max().clamp_min(SMALLEST_NORM)).tolist(), strict=True))
        names = {id(parameter): name for name, parameter in target.trainable().items()}
        for group in optimizer.param_groups:
            base = group.setdefault("base_lr", group["initial_lr"])
            group["initial_lr"] = base * shares[names[id(group["params"][0])]]
        sums.zero_()

    @hookimpl
    def gradients_ready(self, step: Step) -> None:
        """Add this step's norms."""
        trainable = step.target.trainable()
        named = [trainable.get(name) for name in step.target.notes["AutoRGN"]]
        held = [step.logits if p is None else p for p in named]  # what a phase holds back has no gradient
        gradients = [None if p is None else p.grad for p in named]
        _sums(step.target).add_(_relative(held, gradients))


def _sums(target: TargetModel) -> Tensor:
    norms = target.extra["AutoRGN"]
    assert isinstance(norms, _Norms)
    return norms.sums


def _relative(parameters: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    return torch.stack([_ratio(p, g) for p, g in zip(parameters, gradients, strict=True)])


def _ratio(parameter: Tensor, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        return torch.zeros((), device=parameter.device)
    ratio: Tensor = gradient.detach().norm() / parameter.detach().norm().clamp_min(SMALLEST_NORM)
    return ratio
