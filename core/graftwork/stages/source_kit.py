"""What of the source lies beside a strategy's starting weights, because the strategy needs it while it trains.

All of it is in the format of the target's images: a strategy shows these to the source model, and the source's images
to the target model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from graftwork.engine import Machine
from graftwork.images import LabelledImages
from graftwork.models import build_model
from graftwork.reference import for_target
from graftwork.seeds import derived_seed
from graftwork.source import Needs, Source, require_images
from graftwork.splits import stratified_order
from graftwork.stages import Context
from graftwork.storage import in_format, load_split
from graftwork.weights import InputContract, digest, load_weights, save_weights

MODEL, IMAGES = "source.safetensors", "source_images"


@dataclass(frozen=True)
class Kit:
    """The source model's tensors with their contract, and, where they are needed, some of its training images."""

    tensors: dict[str, Tensor]
    contract: InputContract
    images: LabelledImages | None

    def save(self, folder: Path) -> None:
        """Write it into the folder of the starting weights."""
        save_weights(folder / MODEL, self.tensors, self.contract)
        if self.images is not None:
            (folder / IMAGES).mkdir()
            self.images.save(folder / IMAGES)

    def source(self, context: Context, machine: Machine) -> Source:
        """Return it as strategies see it."""

        def build() -> nn.Module:
            model = build_model(context.settings, context.registry, len(self.contract.classes), seed=0)
            model.load_state_dict(self.tensors)
            return machine.place(model)

        return Source(self.contract.classes, build, self.images, digest(self.tensors))


def take_source(
    context: Context, needs: Needs, tensors: dict[str, Tensor], contract: InputContract, name: str
) -> Kit | None:  # fmt: skip
    """Return what a strategy needs of the source: its model, and a stratified choice of its training images.

    Raises WeightsError where its model can't be made to read the target's images, SettingsError where there are no
    images of it.
    """
    if not (needs.model or needs.images):
        return None
    images = None
    if needs.images:
        require_images(context.settings, name)
        whole = load_split(context.layout.split(name, "train"))
        rng = np.random.default_rng(derived_seed(context.settings.seed, "source images"))
        chosen = np.sort(stratified_order(whole.labels.numpy(), rng)[: needs.images])
        images = in_format(whole, chosen, context.settings.image_of("target"))
    return Kit(*for_target(context.settings, context.registry, tensors, contract), images)


def load_source(context: Context, folder: Path, machine: Machine) -> Source | None:
    """Read what a kit wrote; None where the strategy needs nothing."""
    if not (folder / MODEL).exists():
        return None
    tensors, contract = load_weights(folder / MODEL)
    images = load_split(folder / IMAGES) if (folder / IMAGES).exists() else None
    return Kit(tensors, contract, images).source(context, machine)
