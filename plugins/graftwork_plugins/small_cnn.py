"""A small convolutional network for small images, the one of many a first course."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field
from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.settings import ImageFormat

Width = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class SmallCNN:
    """3×3 convolutions with ReLU, each followed by 2×2 max pooling; a dense layer; a linear head."""

    channels: Annotated[tuple[Width, ...], Field(min_length=1)] = (32, 64, 64)
    dense: Width = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0  # before the head

    def build(self, classes: int, image: ImageFormat) -> nn.Module:
        """Return a freshly initialised network. Raises SettingsError where the images are pooled away."""
        if image.size < 2 ** len(self.channels):
            raise SettingsError(
                f"{len(self.channels)} poolings leave nothing of {image.size} pixels",
                where="params.yaml, keys model and image",
                fix="enlarge image.size, or shorten model.small_cnn.channels",
            )  # fmt: skip
        return SmallCNNModel(self, classes, image)


class SmallCNNModel(nn.Module):
    """Layers as the dataclass says; `get_classifier` and `feature_info` as in timm."""

    def __init__(self, shape: SmallCNN, classes: int, image: ImageFormat) -> None:
        super().__init__()
        inputs = (image.channels, *shape.channels)
        self.stages = nn.Sequential(*(_stage(a, b) for a, b in zip(inputs, shape.channels, strict=False)))
        self.feature_info = [
            {"module": f"stages.{index}", "num_chs": width, "reduction": 2 ** (index + 1)}
            for index, width in enumerate(shape.channels)
        ]
        side = image.size // 2 ** len(shape.channels)
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(shape.channels[-1] * side**2, shape.dense), nn.ReLU())
        self.dropout = nn.Dropout(shape.dropout)
        self.head = nn.Linear(shape.dense, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, height, width)."""
        logits: Tensor = self.head(self.dropout(self.dense(self.stages(images))))
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head


def _stage(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
