"""Weights that Keras saved: chains of dense and convolutional layers, in .keras and in .h5 files."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import torch

from graftwork.chains import Chain
from graftwork.errors import GraftworkError, WeightsError
from graftwork.foreign import ForeignWeights, verified, weight_file
from graftwork_plugins.weights.keras_file import layers_of, read
from graftwork_plugins.weights.keras_net import Net, net

SUFFIXES = (".keras", ".h5")
DAMAGED = (  # what h5py, zipfile and configs of an odd form raise; RecursionError is a RuntimeError
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, ArithmeticError, RuntimeError, EOFError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Keras:
    """A .keras or .h5 file that Keras's `model.save` wrote, of a plain chain of layers; Keras isn't needed.

    Tensors come in torch's layout as `0.weight`, by the layer's number without inputs and dropouts. A first layer
    Rescaling becomes mean and std. A folder with one such file may be named, too; no config.json is read in it.
    `sha256`, or its beginning, is compared.
    """

    sha256: str | None = None

    def read(self, path: Path) -> ForeignWeights:
        """Read the file; raises WeightsError where it is damaged, or its net can't be brought to torch."""
        file = weight_file(path, SUFFIXES)
        verified(file, self.sha256)
        try:
            return _read(file, None if file == path else file)
        except GraftworkError:
            raise
        except DAMAGED as error:
            raise WeightsError(
                f"The Keras file is damaged, or isn't one: {type(error).__name__}: {str(error)[:200]}",
                where=str(file), expected="a .keras or .h5 file that model.save wrote",
                fix="save the model anew: model.save('model.keras')",
            ) from None  # fmt: skip


def _read(path: Path, named: Path | None) -> ForeignWeights:
    config, arrays = read(path)
    found = net(layers_of(config, str(path)), arrays, str(path))
    cautions = tuple(dict.fromkeys(step.caution for step in found.steps if step.caution))
    mean, std = _normalisation(found)
    return ForeignWeights(
        {name: torch.from_numpy(array.copy()) for name, array in found.tensors().items()},
        mean=mean,
        std=std,
        size=found.shape[0] if len(found.shape) > 1 else None,
        origin={"steps": [step.what for step in found.steps]},
        architecture=Chain(found.layers, found.answer, cautions),
        file=named,
    )


def _normalisation(found: Net) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Return mean and std that do to pixels of 0…1 what the net's Rescaling does to those of 0…255."""
    if found.scaling is None:
        return None, None
    scale, offset = found.scaling
    channels = found.shape[2] if len(found.shape) == 3 else 1
    return (-offset / (255 * scale),) * (channels or 1), (1 / (255 * scale),) * (channels or 1)
