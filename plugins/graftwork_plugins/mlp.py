"""A multilayer perceptron on the flattened image, or on a vector."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from graftwork.settings import ImageFormat


@dataclass(frozen=True)
class MLP:
    """Fully connected layers with batch normalisation, unless that is off, and ReLU, then a linear head."""

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (256, 128)
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    batch_norm: bool = True

    def build(self, classes: int, image: ImageFormat) -> nn.Module:
        """Return a freshly initialised network."""
        return Perceptron(image.channels * image.size**2, self, classes)


class Perceptron(nn.Module):
    """Layers as the dataclass says; `get_classifier` names the head, as in timm."""

    def __init__(self, inputs: int, settings: MLP, classes: int) -> None:
        super().__init__()
        widths = (inputs, *settings.hidden)
        layers = (_layer(a, b, settings) for a, b in itertools.pairwise(widths))
        self.trunk = nn.Sequential(nn.Flatten(), *layers)
        self.head = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, height, width)."""
        logits: Tensor = self.head(self.trunk(images))
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head


def _layer(inputs: int, outputs: int, settings: MLP) -> nn.Module:
    linear = nn.Linear(inputs, outputs, bias=not settings.batch_norm)  # the norm's own bias does for both
    norm = [nn.BatchNorm1d(outputs)] if settings.batch_norm else []
    return nn.Sequential(linear, *norm, nn.ReLU(), nn.Dropout(settings.dropout))
