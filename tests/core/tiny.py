"""A training that takes milliseconds: a convolution, a norm and a head on noisy stripes of 8×8 pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from graftwork.checkpoints import Checkpoints, fingerprint
from graftwork.engine import Machine, Normalise
from graftwork.images import LabelledImages
from graftwork.job import Job
from graftwork.labelled_arrays import LabelledArrays
from graftwork.manifest import match
from graftwork.models import head_tensors
from graftwork.progress import Quiet
from graftwork.settings import Training
from graftwork.source import SourceModel
from graftwork.strategy import Step, Strategy, TargetModel
from graftwork.weights import InputContract

MACHINE = Machine(torch.device("cpu"), autocast=False, memory_format=torch.contiguous_format)
CONTRACT = InputContract(
    model={"name": "tiny"}, classes=("a", "b", "c"), mean=(0.5,), std=(0.25,), size=8, channels=1,
    head=("head.bias", "head.weight"), provenance={},
)  # fmt: skip


class TinyNet(nn.Module):
    """Read (N, channels, 8, 8), answer (N, classes)."""

    def __init__(self, classes: int = 3, channels: int = 1) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(6 * 16, classes)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.norm(self.stem(images)).relu()
        pooled = nn.functional.avg_pool2d(maps, 2)
        logits: Tensor = self.head(self.drop(pooled.flatten(1)))
        return logits

    def get_classifier(self) -> nn.Module:
        return self.head


def tiny_net(classes: int = 3, channels: int = 1, seed: int = 0) -> TinyNet:
    """Return a network with weights drawn from `seed`, the norm's included, so that none is 0 or 1."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = TinyNet(classes, channels)
        for name, tensor in model.state_dict().items():
            if name.startswith("norm.") and tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return model


def stripes(count: int = 48, seed: int = 0, noise: int = 60) -> LabelledImages:
    """Return `count` images of three classes: rows, columns or a chequerboard, under noise."""
    rows = (torch.arange(8) % 2)[:, None].expand(8, 8)
    patterns = torch.stack([rows, rows.T, (rows + rows.T) % 2]) * 120
    labels = torch.arange(count) % 3
    draws = torch.randint(0, noise + 1, (count, 8, 8), generator=torch.Generator().manual_seed(seed))
    return LabelledArrays((patterns[labels] + draws).to(torch.uint8)[:, None], labels)


def training(**changes: Any) -> Training:
    """Return short settings of a training."""
    usual = {"epochs": 3, "batch_size": 16, "optimizer": "sgd", "lr": 0.05, "weight_decay": 0.0}
    return Training(**usual | changes)


def graft(strategy: Strategy, source: nn.Module, model: nn.Module) -> TargetModel:
    """Bring the source's weights into `model` as the transfer and fine-tuning stages do."""
    offered = SourceModel(source.state_dict(), head_tensors(source))
    start, _ = match(strategy.choose_weights(offered), model.state_dict(), source.state_dict())
    model.load_state_dict({**model.state_dict(), **start})
    target = TargetModel(model, head_tensors(model), frozenset(start))
    strategy.prepare_model(target)
    return target


def job(folder: Path, *plugins: object, source: nn.Module | None = None, **changes: Any) -> Job:
    """Return a training of a fresh TinyNet under a stack of plugins; `changes` go to Job, or to Training."""
    strategy = Strategy("tiny", plugins)
    own = {key: changes.pop(key) for key in list(changes) if key in Job.__dataclass_fields__}
    settings = training(**changes)
    usual = {
        "target": graft(strategy, source or tiny_net(seed=1), tiny_net(seed=own.get("seed", 0))),
        "strategy": strategy,
        "train": stripes(seed=1),
        "validation": stripes(seed=2),
        "augmentation": (),
        "normalise": Normalise(CONTRACT, MACHINE),
        "training": settings,
        "machine": MACHINE,
        "seed": 0,
        "progress": Quiet(),
        "checkpoints": Checkpoints(folder, fingerprint(settings.model_dump())),
    }
    return Job(**usual | own)


def step(target: TargetModel, images: Tensor) -> Step:
    """Return one training step on normalised images, for asking a penalty."""
    return Step(target, images, torch.zeros(len(images), dtype=torch.int64), target.model(images))


def different(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Sequence[str]:
    """Return the names of the tensors that aren't equal to the bit."""
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Return the model's tensors as they are now."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}
