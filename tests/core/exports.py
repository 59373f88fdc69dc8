"""Models on their way out, and their stories, made up: no training is needed."""

from __future__ import annotations

from typing import Any

import torch

from graftwork.evidence import Interval
from graftwork.lineage import Lineage
from graftwork.model_card import Gain, Story
from graftwork.models import head_tensors
from graftwork.release import Release, rebuild
from graftwork.settings import ImageFormat, Use
from graftwork.weights import InputContract
from tests.core.small import REGISTRY

CLASSES = ("<script>alert(1)</script>", "a|b *c* [d](e) `f` $g$ \\h", "貓\nx" + "y" * 300)
RESNET: dict[str, Any] = {"name": "timm", "settings": {"name": "test_resnet"}}
VIT: dict[str, Any] = {"name": "timm", "settings": {"name": "test_vit", "options": {"drop_rate": 0.1}}}
MLP: dict[str, Any] = {"name": "mlp", "settings": {"hidden": [8]}}


def release(model: dict[str, Any], size: int = 32, channels: int = 3, seed: int = 4) -> Release:
    """Return a model with weights drawn from `seed`, its norms' statistics included."""
    plugin = REGISTRY.create("model", Use.model_validate({model["name"]: model["settings"]}))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = plugin.build(len(CLASSES), ImageFormat.model_validate({"size": size, "channels": channels}))
        for name, tensor in net.state_dict().items():
            if name.endswith("running_mean"):  # small: what is far below a norm's mean is 0 for every image
                tensor.copy_(0.2 * torch.rand(tensor.shape) - 0.1)
            if name.endswith("running_var"):
                tensor.copy_(0.3 * torch.rand(tensor.shape) + 0.3)
    contract = InputContract(
        model=model, classes=CLASSES, mean=(0.4,) * channels, std=(0.2,) * channels, size=size, channels=channels,
        head=tuple(sorted(head_tensors(net))), provenance={"source": {"dataset": "npz", "classes": list(CLASSES)}},
    )  # fmt: skip
    return Release("full_copy", seed, net.state_dict(), contract, temperature=0.7, validation_accuracy=0.8)


def built(found: Release) -> torch.nn.Module:
    """Return the model of a release."""
    return rebuild(REGISTRY, found.tensors, found.contract, where="here")


STORY = Story(
    dataset="npz",
    origin={"name": '"Cats": <b>all</b>', "licence": "CC0", "skipped": ["x"]},
    images={"train": (1, 2, 3), "validation": (4, 5, 6), "test": (7, 8, 9)},
    stack=("full_copy", "l2_sp (alpha: 0.1)"),
    accuracy=Interval(0.8, 0.75, 0.85),
    seed_accuracy=0.81,
    scratch=Interval(0.7, 0.65, 0.75),
    gain=Gain(Interval(0.1, 0.05, 0.15), Interval(0.1, 0.03, 0.17), "positive"),
    calibration_error=(0.05, 0.02),
    seeds=3,
    confidence=0.95,
    hashes={
        "data/raw/target": "d41d8cd98f00", "weights/target/full_copy": "aa", "weights/target/freeze": "bb",
    },
    lineage=Lineage("seed-4.safetensors", "cc", "as recorded", "", MLP, CLASSES, {"strategy": "full_copy"}, None, ()),
)  # fmt: skip
