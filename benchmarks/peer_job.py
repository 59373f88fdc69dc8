"""One transfer that any library can do: a small ResNet, its head for two epochs, then all of it for two.

The source model knows trousers, coats, sandals, shirts and sneakers; the target is training images of the
other five embedded classes, 28 pixels, grey, flipped at random. Everyone gets the same starting weights, batch size,
number of steps, kind of optimizer (AdamW) and highest learning rate, and is judged on the same 1,000 test images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.embedded import prepare_for, workspace
from graftwork.engine import Machine, Normalise, predict, share_correct
from graftwork.images import LabelledImages
from graftwork.settings import Engine
from graftwork.stages.finetune import load_fitting
from graftwork.stages.fitting import Fitting
from graftwork.storage import load_split

HEAD_EPOCHS, FULL_EPOCHS, BATCH, LR, DECAY, WARMUP = 2, 2, 128, 0.005, 0.05, 0.2
STRATEGY = "probe_then_tune"
CHANGES = {
    "data__source__dataset": "{fashion_mnist: {keep: [1, 3, 4, 6, 7]}}",
    "data__target__dataset": "{fashion_mnist: {keep: [0, 2, 5, 8, 9]}}",
    "data__target__validation": "10",  # nobody else validates
    "data__target__augmentation": "[flip]",
    "data__target__duplicates": "drop",
    "strategies": f"{{scratch: [], {STRATEGY}: [full_copy, lp_ft]}}",
    "sweep": "null",
    "finetune__epochs": str(HEAD_EPOCHS + FULL_EPOCHS),
    "finetune__batch_size": str(BATCH),
    "finetune__optimizer": "adamw",
    "finetune__lr": str(LR),
    "finetune__weight_decay": str(DECAY),
    "finetune__warmup_fraction": str(WARMUP),
    "finetune__label_smoothing": "0",
    "finetune__validate_every_epochs": str(HEAD_EPOCHS + FULL_EPOCHS),
}


@dataclass(frozen=True)
class PeerJob:
    """What a contender gets."""

    fitting: Fitting
    test: LabelledImages

    @classmethod
    def prepare(cls, root: Path, images: int | None = None) -> PeerJob:
        """Train the source model, and stop before the fine-tuning; `images` None: on all there are."""
        context = workspace(root, "contiguous", **CHANGES | {"data__target__labels": str(images or "null")})
        prepare_for(context, STRATEGY)
        return cls(load_fitting(context, STRATEGY), load_split(context.layout.split("target", "test")))

    @property
    def mean(self) -> tuple[float, ...]:
        return self.fitting.contract.mean

    @property
    def std(self) -> tuple[float, ...]:
        return self.fitting.contract.std

    @property
    def steps(self) -> int:
        """Steps of an epoch; a smaller last batch is left out."""
        return len(self.fitting.train) // BATCH

    def model(self, seed: int) -> nn.Module:
        """Return the source's trunk under a fresh head, plain as timm makes it."""
        return self.fitting.target(seed).model

    def short(self) -> PeerJob:
        """Return the same with two batches of images, for a first run that isn't measured."""
        return replace(self, fitting=replace(self.fitting, train=self.fitting.train.take(torch.arange(2 * BATCH))))

    def on(self, engine: Engine) -> PeerJob:
        """Return the same in another arithmetic."""
        context = self.fitting.context
        settings = context.settings.model_copy(update={"engine": engine})
        other = replace(self.fitting, context=replace(context, settings=settings))
        return replace(self, fitting=other)

    def accuracy(self, model: nn.Module) -> float:
        """Return the share of test images that a model gets right, in float32."""
        machine = Machine(torch.device("cpu"), autocast=False, memory_format=torch.contiguous_format)
        probabilities = predict(model, self.test, Normalise(self.fitting.contract, machine), machine)
        return share_correct(probabilities, self.test.labels)


def head_of(model: nn.Module) -> nn.Module:
    """Return the last layer."""
    head: nn.Module = model.get_classifier()  # type: ignore[operator]  # timm's interface
    return head


def trunk_of(model: nn.Module) -> list[nn.Module]:
    """Return all other layers."""
    return [layer for layer in model.children() if layer is not head_of(model)]


def freeze_trunk(model: nn.Module, *, frozen: bool) -> None:
    """Hold the trunk, or let it go."""
    for layer in trunk_of(model):
        layer.requires_grad_(not frozen)


def rates(steps: int) -> Iterator[float]:
    """Yield the learning rate of each step: up for the first fifth, then down to zero, as ours has it."""
    for step in range(1, steps + 1):
        done = step / (steps + 1)
        yield LR * (done / WARMUP if done < WARMUP else (1 - done) / (1 - WARMUP))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def trainable(model: nn.Module) -> list[Tensor]:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]
