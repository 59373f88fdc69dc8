"""EWC: pull each weight by its importance for the source (Kirkpatrick et al., PNAS 2017, arXiv 1612.00796).

λ/2 · Σ F_i (w_i − w⁰_i)², F the empirical Fisher information: the mean over source images of the *squared gradient
of one image*. (The square of the mean gradient is another thing, and near 0 where training has ended.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.gradients import add_to_gradients
from graftwork.hookspecs import hookimpl
from graftwork.source import Needs
from graftwork.strategy import Step, TargetModel
from graftwork.training_run import Run


@dataclass(frozen=True)
class _Anchored:
    parameters: list[Tensor]
    start: list[Tensor]
    importance: list[Tensor]


def fisher(model: nn.Module, names: list[str], images: Tensor, labels: Tensor) -> list[Tensor]:
    """Return the mean squared per-image gradient of the negative log-likelihood, for each named parameter."""
    parameters = [model.get_parameter(name).requires_grad_(True) for name in names]
    total = [torch.zeros_like(parameter) for parameter in parameters]
    for image, label in zip(torch.split(images, 1), torch.split(labels, 1), strict=True):
        loss = F.cross_entropy(model(image).float(), label)
        for sum_, gradient in zip(total, torch.autograd.grad(loss, parameters), strict=True):
            sum_ += gradient.square()
    return [sum_ / len(images) for sum_ in total]


@dataclass(frozen=True)
class EWC:
    """Pull transferred weights towards their source values, the more the source's answers hang on them.

    The Fisher information comes from `images` of the source's training images, with their labels.
    """

    reads_images: ClassVar[bool] = False
    strength: Annotated[float, Field(ge=0)] = 1.0
    images: Annotated[int, Field(ge=1)] = 200

    @hookimpl
    def needs(self) -> Needs:
        """Ask for the source model and images."""
        return Needs(model=True, images=self.images)

    @hookimpl
    def prepare_model(self, target: TargetModel) -> None:
        """Raise for a stack that leaves nothing to pull."""
        if not _shared(target):
            raise SettingsError(
                "ewc has nothing to pull towards: no trainable weight came from the source",
                fix="put full_copy before it in the stack, and don't freeze everything",
            )

    @hookimpl
    def training_started(self, run: Run) -> None:
        """Measure the importance of the weights for the source."""
        assert run.target.source is not None and run.target.source.images is not None
        shared = _shared(run.target)
        batches = list(run.batches(run.target.source.images))
        images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
        importance = fisher(run.target.source.reference(), list(shared), images, labels)
        start = [parameter.detach().clone() for parameter in shared.values()]
        run.target.notes["EWC"] = _Anchored(list(shared.values()), start, importance)

    @hookimpl
    def penalty(self, target: TargetModel) -> Tensor:
        """Return the penalty: zero at the start."""
        anchored: _Anchored = target.notes["EWC"]
        moved = torch._foreach_sub(anchored.parameters, anchored.start)
        weighted = torch._foreach_mul(torch._foreach_mul(moved, moved), anchored.importance)
        total: Tensor = torch.stack([part.sum() for part in weighted]).sum()
        return self.strength / 2 * total

    @hookimpl(tryfirst=True)
    def gradients_ready(self, step: Step) -> None:
        """Add λ·F·(w − w⁰)."""
        anchored: _Anchored = step.target.notes["EWC"]

        def term(numbers: list[int]) -> list[Tensor]:
            moved = torch._foreach_sub([anchored.parameters[n] for n in numbers], [anchored.start[n] for n in numbers])
            torch._foreach_mul_(moved, [anchored.importance[n] for n in numbers])
            torch._foreach_mul_(moved, self.strength)
            return list(moved)

        add_to_gradients(anchored.parameters, term)


def _shared(target: TargetModel) -> dict[str, nn.Parameter]:
    """Return the trainable parameters of the trunk that came from the source."""
    found = target.trainable().items()
    return {name: p for name, p in found if name in target.transferred and name not in target.head}
