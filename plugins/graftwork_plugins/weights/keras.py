"""Weights that Keras saved: Sequential nets of dense and convolutional layers, in .keras and in .h5 files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from graftwork.chains import Chain
from graftwork.foreign import ForeignWeights, verified
from graftwork_plugins.weights.keras_file import layers_of, read
from graftwork_plugins.weights.keras_net import Net, net


@dataclass(frozen=True)
class Keras:
    """A .keras or .h5 file that Keras's `model.save` wrote, of a Sequential net; Keras itself isn't needed.

    Tensors come in torch's layout as `0.weight`, by the layer's number without inputs and dropouts. A first layer
    Rescaling becomes mean and std. `sha256`, or its beginning, is compared.
    """

    sha256: str | None = None

    def read(self, path: Path) -> ForeignWeights:
        """Read the file; raises WeightsError where it is damaged, or its net can't be brought to torch."""
        verified(path, self.sha256)
        config, arrays = read(path)
        found = net(layers_of(config, str(path)), arrays, str(path))
        cautions = tuple(step.caution for step in found.steps if step.caution)
        mean, std = _normalisation(found)
        return ForeignWeights(
            {name: torch.from_numpy(array.copy()) for name, array in found.tensors().items()},
            mean=mean,
            std=std,
            size=found.shape[0] if len(found.shape) > 1 else None,
            origin={"steps": [step.what for step in found.steps]},
            architecture=Chain(found.layers, found.answer, cautions),
        )


def _normalisation(found: Net) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and std that do to pixels of 0…1 what the net's Rescaling does to those of 0…255."""
    if found.scaling is None:
        return None, None
    scale, offset = found.scaling
    channels = found.shape[2] if len(found.shape) == 3 else 1
    return (-offset / (255 * scale),) * (channels or 1), (1 / (255 * scale),) * (channels or 1)
