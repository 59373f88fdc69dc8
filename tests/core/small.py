"""Settings, data and a contract of a few pixels."""

from __future__ import annotations

import torch

from graftwork.images import LabelledImages
from graftwork.labelled_arrays import LabelledArrays
from graftwork.registry import load_plugins
from graftwork.selection import Selector
from graftwork.settings import Settings, Use
from graftwork.weights import InputContract

REGISTRY = load_plugins()
STRATIFIED = Selector(REGISTRY.create("selection", Use.model_validate("stratified")))
TRAINING = {
    "epochs": 4, "batch_size": 10, "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.01, "warmup_fraction": 0.2,
}  # fmt: skip
DATA = {
    "dataset": "npz", "path": "x", "validation": 0.2, "test": 0.2, "augmentation": (), "image": None, "storage": "auto",
}  # fmt: skip
SETTINGS = Settings.model_validate(
    {
        "versions": {"graftwork": "0.1.0"}, "local_plugins": "x", "seed": 0, "seeds": (0, 1),
        "data": {"source": DATA, "target": DATA}, "sources": ("source",),
        "image": {"size": 32, "channels": 1}, "model": "mlp",
        "pretrain": TRAINING, "transfer": {"minimum_coverage": 0.5}, "finetune": TRAINING,
        "strategies": {"scratch": ()},
        "engine": {"device": "cpu", "threads": 1, "precision": "float32", "memory_format": "contiguous"},
        "evidence": {"confidence": 0.95, "margin": 0.005},
    }
)  # fmt: skip
CONTRACT = InputContract(
    model={}, classes=("dark", "bright"), mean=(0.5,), std=(0.25,), size=32, channels=1, head=(), provenance={}
)


def data(count: int, seed: int) -> LabelledImages:
    """Return noise (count, 1, 32, 32), brighter for the second class."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    images = torch.randint(0, 120, (count, 1, 32, 32), generator=draws) + 100 * labels.view(-1, 1, 1, 1)
    return LabelledArrays(images.to(torch.uint8), labels)
