"""Models from timm, by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from graftwork import torchvision_operators
from graftwork.errors import SettingsError, did_you_mean
from graftwork.settings import ImageFormat


@dataclass(frozen=True)
class TimmModel:
    """Any of timm's image classifiers; `options` go to its constructor (drop_path_rate, …)."""

    name: str = "test_resnet"
    options: dict[str, Any] = field(default_factory=dict)

    def build(self, classes: int, image: ImageFormat) -> nn.Module:
        """Return a freshly initialised model; raises SettingsError for an unknown name or option."""
        torchvision_operators.define_missing()
        import timm

        if not timm.is_model(self.name):
            raise SettingsError(
                f"timm knows no model {self.name!r}", where="params.yaml, key model.timm.name",
                expected=f"one of timm's {len(timm.list_models())} names",
                fix=did_you_mean(self.name, timm.list_models()) or "timm.list_models() lists them",
            )  # fmt: skip
        try:
            return self._create(timm, classes, image)
        except (TypeError, AssertionError, ValueError, RuntimeError) as error:
            raise SettingsError(
                f"timm can't build {self.name} for {image.channels}×{image.size}×{image.size} images: {error}",
                where="params.yaml, keys model.timm and image",
                fix="choose another model or image.size, or correct model.timm.options",
            ) from error

    def _create(self, timm: Any, classes: int, image: ImageFormat) -> nn.Module:
        arguments = {"pretrained": False, "num_classes": classes, "in_chans": image.channels, **self.options}
        fixed_size = timm.get_pretrained_cfg(self.name).fixed_input_size
        if fixed_size:  # vision transformers: their position embeddings need the size
            arguments.setdefault("img_size", image.size)
        model: nn.Module = timm.create_model(self.name, **arguments)
        return model
