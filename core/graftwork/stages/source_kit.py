"""What of the source lies beside a strategy's starting weights, because the strategy needs it while it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor, nn

from graftwork.engine import Machine
from graftwork.images import LabelledImages, load_split, save_split
from graftwork.models import build_model
from graftwork.seeds import derived_seed
from graftwork.source import Needs, Source
from graftwork.splits import stratified_order
from graftwork.stages import Context
from graftwork.weights import InputContract, digest, load_weights, save_weights

MODEL, IMAGES = "source.safetensors", "source_images"


def take_source(
    context: Context, needs: Needs, tensors: dict[str, Tensor], contract: InputContract, name: str, machine: Machine
) -> Source | None:
    """Return what a strategy needs of the source: its model, and a stratified choice of its training images."""
    if not (needs.model or needs.images):
        return None
    images = None
    if needs.images:
        whole = load_split(context.layout.split(name, "train"))
        rng = np.random.default_rng(derived_seed(context.settings.seed, "source images"))
        chosen = np.sort(stratified_order(whole.labels.numpy(), rng)[: needs.images])
        images = LabelledImages(whole.images[chosen], whole.labels[chosen])
    return _source(context, tensors, contract, images, machine)


def save_source(folder: Path, source: Source | None, tensors: dict[str, Tensor], contract: InputContract) -> None:
    """Write it into the folder of the starting weights."""
    if source is None:
        return
    save_weights(folder / MODEL, tensors, contract)
    if source.images is not None:
        (folder / IMAGES).mkdir()
        save_split(folder / IMAGES, source.images.images.numpy(), source.images.labels.numpy())


def load_source(context: Context, folder: Path, machine: Machine) -> Source | None:
    """Read what `save_source` wrote; None where the strategy needs nothing."""
    if not (folder / MODEL).exists():
        return None
    tensors, contract = load_weights(folder / MODEL)
    images = load_split(folder / IMAGES) if (folder / IMAGES).exists() else None
    return _source(context, tensors, contract, images, machine)


def _source(
    context: Context, tensors: dict[str, Tensor], contract: InputContract, images: LabelledImages | None,
    machine: Machine,
) -> Source:  # fmt: skip
    def build() -> nn.Module:
        model = build_model(context.settings, context.registry, len(contract.classes), seed=0)
        model.load_state_dict(tensors)
        return machine.place(model)

    return Source(contract.classes, build, images, digest(tensors))
