"""LeNet-5 (LeCun, Bottou, Bengio, Haffner, Proceedings of the IEEE 1998), with ReLU and max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from graftwork.errors import SettingsError
from graftwork.settings import ImageFormat

SMALLEST = 16  # pixels; two 5×5 kernels and two poolings leave one


@dataclass(frozen=True)
class LeNet:
    """Two convolutions of 6 and 16 channels, then linear layers of 120 and 84, and the head."""

    def build(self, classes: int, image: ImageFormat) -> nn.Module:
        """Return a freshly initialised network. Raises SettingsError for images that are too small."""
        if image.size < SMALLEST:
            raise SettingsError(
                f"lenet can't read images of {image.size} pixels", where="params.yaml, keys model and image",
                expected=f"{SMALLEST} pixels or more", fix="enlarge image.size, or use mlp",
            )  # fmt: skip
        return LeNetModel(image, classes)


class LeNetModel(nn.Module):
    """Layers as the dataclass says; `get_classifier` and `feature_info` as in timm."""

    feature_info: ClassVar[list[dict[str, Any]]] = [
        {"module": "stages.0", "num_chs": 6, "reduction": 2},
        {"module": "stages.1", "num_chs": 16, "reduction": 4},
    ]

    def __init__(self, image: ImageFormat, classes: int) -> None:
        super().__init__()
        side = ((image.size - 4) // 2 - 4) // 2
        self.stages = nn.Sequential(_stage(image.channels, 6), _stage(6, 16))
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(16 * side**2, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU())
        self.head = nn.Linear(84, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (batch, classes) for images (batch, channels, height, width)."""
        logits: Tensor = self.head(self.trunk(self.stages(images)))
        return logits

    def get_classifier(self) -> nn.Module:
        """Return the head."""
        return self.head


def _stage(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 5), nn.ReLU(), nn.MaxPool2d(2))
